#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/transforms/augment.hpp"
#include "data/transforms/corruption.hpp"
#include "data/transforms/resize.hpp"

namespace dissent {

/// (value / 255 - mean) / std a channel.
struct Normalisation {
  std::array<double, 3> mean, std;
};

/// Those of the references by the name of the training set: cifar10, cifar100, imagenet; 0.5 and
/// 0.5 for any other (mnist).
/// Ref: SDDE and OpenOOD, openood/preprocessors/transform.py
Normalisation normalisation(const std::string& set);

/// What makes a network's input of an image.
///   center_crop:   resize the shorter edge, cut out the middle
///   padded_crop:   the same, mirror perhaps, pad with black, cut out a random window
///   resized_crop:  cut out a random window, resize it, mirror perhaps
/// An edge shorter than the crop is padded with black. Black is 0 before normalising. Then, on the
/// crop and before normalising: AugMix, RandAugment, the corruption, each if there.
struct TransformOptions {
  enum class Kind { kCenterCrop, kPaddedCrop, kResizedCrop } kind = Kind::kCenterCrop;
  int64_t resize = 0;                    ///< shorter edge before the crop; resized_crop has none
  int64_t size = 0;                      ///< edge of the result
  int64_t pad = 0;                       ///< of padded_crop, on each side
  std::array<double, 2> scale{0.08, 1};  ///< of resized_crop: part of the area
  std::array<double, 2> ratio{3.0 / 4, 4.0 / 3};  ///< of resized_crop: width over height
  Interpolation interpolation = Interpolation::kBilinear;
  Normalisation normalisation;
  std::optional<AugMixOptions> aug_mix = {};
  std::optional<RandAugmentOptions> rand_augment = {};
  CorruptionOptions corruption = {};
};

/// The random part of one image's transform.
struct TransformDraws {
  int64_t top = 0,
          left =
              0;  ///< of the window: in the padded image (padded_crop), in the image (resized_crop)
  int64_t height = 0, width = 0;  ///< of resized_crop's window
  bool flip = false;              ///< mirror left and right
  std::optional<Random> values =
      {};  ///< what goes on drawing for that which changes pixels' values
};

/// Draws for an image of height x width. Windows of resized_crop as torchvision's
/// RandomResizedCrop.get_params: area and log ratio uniform, ten tries, then the largest window in
/// the middle whose ratio is allowed. center_crop draws no window.
TransformDraws draw_transform(const TransformOptions& options, int64_t height, int64_t width,
                              Random random);

/// image [H, W] or [H, W, 1] (grey, taken for three equal channels) or [H, W, 3], u8, CPU; returns
/// [3, size, size] f32. Error::kUsage: another shape or dtype, a window outside of the image, no
/// `values` where some are to be drawn.
at::Tensor transform_image(const TransformOptions& options, const at::Tensor& image,
                           const TransformDraws& draws);

/// A transform whose tables are made, for many images. May be used by several threads at once.
class ImageTransform {
 public:
  explicit ImageTransform(const TransformOptions& options);
  const TransformOptions& options() const { return options_; }
  /// transform_image into memory of the caller: out has 3 * size * size values.
  void apply(const at::Tensor& image, const TransformDraws& draws, float* out) const;
  /// The same with the draws of row `row` of a set, keyed by (seed, stream, row) alone.
  void row(const at::Tensor& image, uint64_t seed, uint64_t stream, int64_t row, float* out) const;
  /// What row() looks at of an image of this height and width.
  ImagePart part_of_row(uint64_t seed, uint64_t stream, int64_t row, int64_t height,
                        int64_t width) const;

 private:
  TransformOptions options_;
  std::array<std::array<float, 256>, 3> values_;  // of a channel's levels
};

/// Rows of a set: images [N, H, W] or [N, H, W, C] u8, rows [B] i64; returns [B, 3, size, size]
/// f32. Draws of row r are keyed by (seed, stream, r), so they depend on neither order nor batches;
/// `stream` is, say, the epoch of a member. Made on the threads of this process; same bits for any
/// number.
at::Tensor transform_rows(const TransformOptions& options, const at::Tensor& images,
                          const at::Tensor& rows, uint64_t seed, uint64_t stream);

/// One line of the table of transforms.
struct TransformSpec {
  std::string name;
  std::string meaning;
  std::string citation;
  TransformOptions options;
};

/// {mnist,cifar10,cifar100,tin,imagenet}_{train,test}, imagenet_c_test, sed_train, sed_eval.
const std::vector<TransformSpec>& transform_table();
/// The transform for testing that goes with one for training: "mnist_train" -> "mnist_test",
/// "sed_train" -> "sed_eval"; others stay what they are.
std::string test_transform(std::string name);
/// Error::kUsage for an unknown name, with the nearest.
const TransformSpec& find_transform(const std::string& name);

}  // namespace dissent
