#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/options.hpp"
#include "core/random.hpp"

namespace dissent {

/// Parameters of one corruption at the five severities, in the order of the reference's function of
/// that name.
using CorruptionRows = std::array<std::vector<double>, 5>;

/// One entry of the table of corruptions.
struct CorruptionSpec {
  std::string name;   ///< "gaussian_noise"
  std::string group;  ///< "noise", "blur", "weather" or "digital"
  std::string meaning;
  CorruptionRows cifar, tiny_imagenet, imagenet;  ///< for images of 32 x 32, 64 x 64, 224 x 224
  at::Tensor (*apply)(const at::Tensor& image, const std::vector<double>& row, Random& random);
};

/// The 15 corruptions of ImageNet-C, in the order of the paper.
/// Ref: Hendrycks and Dietterich, ICLR 2019; hendrycks/robustness,
/// ImageNet-C/create_c/make_{cifar,tinyimagenet,imagenet}_c.py.
/// Differences from the reference: docs/transforms.md.
const std::vector<CorruptionSpec>& corruption_table();
/// Error::kUsage for an unknown name, with the nearest known one.
const CorruptionSpec& find_corruption(const std::string& name);

/// The parameters for an image of height x width, severity 1 .. 5: CIFAR-10-C's up to a shorter
/// edge of 48, TinyImageNet-C's up to 128, else ImageNet-C's.
const std::vector<double>& corruption_row(const CorruptionSpec& spec, int64_t severity,
                                          int64_t height, int64_t width);

/// image [H, W, 3] u8, CPU, contiguous, H, W >= 8 -> [H, W, 3] u8. Bitwise the same for the same
/// state of `random`.
/// Error::kUsage: another image, an unknown name, a severity outside 1 .. 5.
at::Tensor corrupt(const at::Tensor& image, const std::string& name, int64_t severity,
                   Random& random);

/// The name that selects no corruption.
inline constexpr const char* kNoCorruption = "none";

/// A corruption as part of a transform.
struct CorruptionOptions {
  std::string name = kNoCorruption;  ///< a name of the table, or none
  int64_t severity = 1;
  /// Treats the corrupted crop as a stored image, as ImageNet-C's files are: it is resized and
  /// cropped by the transform once more. Only for transforms that draw no window.
  bool as_stored = false;

  bool enabled() const { return name != kNoCorruption; }
};

/// The options as a configuration table of this name.
TableSpec corruption_options_table(const std::string& name);

}  // namespace dissent
