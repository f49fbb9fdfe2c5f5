#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/options.hpp"
#include "core/random.hpp"
#include "data/transforms/pixel_ops.hpp"

namespace dissent {

/// One step of an augmentation.
struct PixelStep {
  PixelOp op;
  double magnitude;  ///< pixel_ops.hpp
};

/// `num_ops` operations drawn independently from the 14, all with the same strength: bin
/// `magnitude` of `bins` between zero and the maximum, with a random sign.
struct RandAugmentOptions {
  int64_t num_ops = 2;
  int64_t magnitude = 9;
  int64_t bins = 31;
  /// Apply before resizing and cropping, as OpenOOD does for images up to 64 x 64; false: after, as
  /// OpenOOD does for ImageNet.
  bool first = false;
  Interpolation interpolation = Interpolation::kNearest;
};

/// The steps for an image of height x width. Error::kUsage: an option out of range.
/// Ref: Cubuk et al. 2020; torchvision 0.26, RandAugment
std::vector<PixelStep> draw_rand_augment(const RandAugmentOptions& options, int64_t height,
                                         int64_t width, Random& random);

/// image [H, W, 3] u8 -> [H, W, 3] u8.
at::Tensor rand_augment(const RandAugmentOptions& options, const at::Tensor& image, Random& random);

/// m0 x + (1 - m0) sum over i of w_i chain_i(x), truncated to u8: `mixture_width` chains of
/// `chain_depth` operations (<= 0: drawn from 1 to 3), (m0, 1 - m0) ~ Dirichlet(alpha, alpha), w ~
/// Dirichlet(alpha, ...); strengths drawn from the first `severity` of ten bins.
struct AugMixOptions {
  int64_t severity = 3;
  int64_t mixture_width = 3;
  int64_t chain_depth = -1;
  double alpha = 1;
  bool all_ops = true;  ///< false: without Brightness, Color, Contrast and Sharpness, which
                        ///< resemble corruptions of ImageNet-C
  Interpolation interpolation = Interpolation::kBilinear;
};

struct AugMixDraws {
  float original = 0;  ///< m0
  struct Chain {
    float weight;  ///< (1 - m0) w_i
    std::vector<PixelStep> steps;
  };
  std::vector<Chain> chains;
};

/// Error::kUsage: an option out of range.
/// Ref: Hendrycks et al. 2020; torchvision 0.26, AugMix (with the operations on PIL images instead
/// of torchvision's operations on tensors)
AugMixDraws draw_aug_mix(const AugMixOptions& options, int64_t height, int64_t width,
                         Random& random);

/// image [H, W, 3] u8 -> [H, W, 3] u8: one view. OpenOOD's trainer uses two views and the image
/// itself: call it twice.
at::Tensor aug_mix(const AugMixOptions& options, const at::Tensor& image, Random& random);

/// The options as a configuration table of this name.
TableSpec rand_augment_table(const std::string& name);
TableSpec aug_mix_table(const std::string& name);

}  // namespace dissent
