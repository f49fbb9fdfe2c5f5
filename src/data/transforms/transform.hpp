#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/transforms/augment.hpp"
#include "data/transforms/corruption.hpp"
#include "data/transforms/resize.hpp"

namespace dissent {

/// (value / 255 - mean) / std per channel.
struct Normalisation {
  std::array<double, 3> mean, std;
};

/// The references' normalisation for a training set: cifar10, cifar100, imagenet; 0.5 and 0.5 for
/// any other (mnist).
/// Ref: SDDE and OpenOOD, openood/preprocessors/transform.py
Normalisation normalisation(const std::string& set);

/// Turns an image into a network's input.
///   center_crop:   resize the shorter edge, crop the centre
///   padded_crop:   the same, flip at random, pad with black, crop a random window
///   resized_crop:  crop a random window, resize it, flip at random
/// An edge shorter than the crop is padded with black (0 before normalisation). Then, on the crop
/// and before normalisation: AugMix, RandAugment and the corruption, if set.
struct TransformOptions {
  enum class Kind { kCenterCrop, kPaddedCrop, kResizedCrop } kind = Kind::kCenterCrop;
  int64_t resize = 0;                    ///< shorter edge before the crop; unused by resized_crop
  int64_t size = 0;                      ///< edge of the result
  int64_t pad = 0;                       ///< padded_crop: pixels on each side
  std::array<double, 2> scale{0.08, 1};  ///< resized_crop: range of the fraction of the area
  std::array<double, 2> ratio{3.0 / 4, 4.0 / 3};  ///< resized_crop: range of width over height
  Interpolation interpolation = Interpolation::kBilinear;
  Normalisation normalisation;
  std::optional<AugMixOptions> aug_mix = {};
  std::optional<RandAugmentOptions> rand_augment = {};
  CorruptionOptions corruption = {};
};

/// The random draws of one image's transform.
struct TransformDraws {
  /// Corner of the window: in the padded image (padded_crop), in the image (resized_crop).
  int64_t top = 0, left = 0;
  int64_t height = 0, width = 0;      ///< of resized_crop's window
  bool flip = false;                  ///< mirror left and right
  std::optional<Random> values = {};  ///< stream for AugMix, RandAugment and the corruption
};

/// The draws for an image of height x width. The window of resized_crop is drawn as by
/// torchvision's RandomResizedCrop.get_params: area and log ratio uniform, ten tries, then the
/// largest centred window with an allowed ratio. center_crop draws no window.
TransformDraws draw_transform(const TransformOptions& options, int64_t height, int64_t width,
                              Random random);

/// image [H, W] or [H, W, 1] (grey, used as three equal channels) or [H, W, 3], u8, CPU; returns
/// [3, size, size] f32. Error::kUsage: another shape or dtype, a window outside the image, no
/// `values` where they are needed.
at::Tensor transform_image(const TransformOptions& options, const at::Tensor& image,
                           const TransformDraws& draws);

/// A transform with precomputed tables, for many images. Thread-safe.
class ImageTransform {
 public:
  /// Error::kUsage for corruption.as_stored with a transform that draws a window.
  explicit ImageTransform(const TransformOptions& options);
  const TransformOptions& options() const { return options_; }
  /// transform_image into the caller's memory: out has 3 * size * size values.
  void apply(const at::Tensor& image, const TransformDraws& draws, float* out) const;
  /// The same with the draws for row `row` of a set, keyed by (seed, stream, row) alone.
  void row(const at::Tensor& image, uint64_t seed, uint64_t stream, int64_t row, float* out) const;
  /// The part of an image of this height and width that row() reads.
  ImagePart part_of_row(uint64_t seed, uint64_t stream, int64_t row, int64_t height,
                        int64_t width) const;

 private:
  TransformOptions options_;
  std::array<std::array<float, 256>, 3> values_;  // normalised value of each level, per channel
};

/// Transforms rows of a set: images [N, H, W] or [N, H, W, C] u8, rows [B] i64; returns [B, 3,
/// size, size] f32. The draws of row r are keyed by (seed, stream, r), so they depend on neither
/// order nor batches; `stream` is, for example, the epoch of a member. Runs on the threads of this
/// process; bitwise the same for any number of threads.
at::Tensor transform_rows(const TransformOptions& options, const at::Tensor& images,
                          const at::Tensor& rows, uint64_t seed, uint64_t stream);

/// One entry of the table of transforms.
struct TransformSpec {
  std::string name;
  std::string meaning;
  std::string citation;
  TransformOptions options;
  std::string test = {};  ///< for a training transform: the test transform that belongs to it
};

/// {mnist,cifar10,cifar100,tin,imagenet}_{train,test}, imagenet_c_test, sed_train, sed_eval.
const std::vector<TransformSpec>& transform_table();
/// The test transform that belongs to a training transform: "mnist_train" -> "mnist_test",
/// "sed_train" -> "sed_eval"; other names are returned unchanged.
std::string test_transform(std::string name);
/// Error::kUsage for an unknown name, with the nearest known one.
const TransformSpec& find_transform(const std::string& name);

}  // namespace dissent
