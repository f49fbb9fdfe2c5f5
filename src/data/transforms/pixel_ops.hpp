#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "data/transforms/resize.hpp"

namespace dissent {

/// What RandAugment and AugMix do to an image, by torchvision's names: a magnitude of
///   ShearX, ShearY          tangent of the angle; about the upper left corner
///   TranslateX, TranslateY  pixels to the right, down; whole ones, cut off
///   Rotate                  degrees against the clock, |angle| < 90; about the middle
///   Brightness, Color, Contrast, Sharpness
///       factor - 1 of the blend with black, grey, mean grey, the smoothed image
///   Posterize               bits kept, 0 (which Pillow refuses: black) .. 8
///   Solarize                values from this one on are inverted
/// Identity, AutoContrast and Equalize have none.
enum class PixelOp {
  kIdentity,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
  kBrightness,
  kColor,
  kContrast,
  kSharpness,
  kPosterize,
  kSolarize,
  kAutoContrast,
  kEqualize
};

/// Names, in the order of torchvision's RandAugment.
const std::vector<std::pair<std::string, PixelOp>>& pixel_op_names();

/// The level of every pixel is that which torchvision gives for a PIL image, where the new image
/// sees outside of the old one it is black. image [H, W, 3] u8, CPU, contiguous; interpolation
/// nearest or bilinear, of the five that move pixels. Returns [H, W, 3], perhaps the same tensor.
/// Error::kUsage: another image; bicubic.
/// Ref: torchvision 0.26, transforms/autoaugment.py, _apply_op; Pillow 13.0, ImageEnhance,
/// ImageOps, src/libImaging/{Geometry,Blend,Filter}.c
at::Tensor apply_pixel_op(const at::Tensor& image, PixelOp op, double magnitude,
                          Interpolation interpolation = Interpolation::kNearest);

}  // namespace dissent
