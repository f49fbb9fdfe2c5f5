#pragma once
#include <array>
#include <string_view>

namespace dissent {

/// The 15 corruptions of ImageNet-C, in the order of the paper. Without LibTorch, for tables and
/// sheets of jobs; corruption_table() has one entry for each.
/// Ref: Hendrycks and Dietterich, ICLR 2019.
inline constexpr std::array<std::string_view, 15> kCorruptionNames{"gaussian_noise",
                                                                   "shot_noise",
                                                                   "impulse_noise",
                                                                   "defocus_blur",
                                                                   "glass_blur",
                                                                   "motion_blur",
                                                                   "zoom_blur",
                                                                   "snow",
                                                                   "frost",
                                                                   "fog",
                                                                   "brightness",
                                                                   "contrast",
                                                                   "elastic_transform",
                                                                   "pixelate",
                                                                   "jpeg_compression"};

}  // namespace dissent
