#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "data/transforms/resize.hpp"

namespace dissent {

/// The operations of RandAugment and AugMix, by torchvision's names. The magnitude of
///   ShearX, ShearY          tangent of the angle; about the upper left corner
///   TranslateX, TranslateY  pixels to the right, down; truncated to integers
///   Rotate                  degrees counterclockwise, |angle| < 90; about the centre
///   Brightness, Color, Contrast, Sharpness
///       factor - 1 of the blend with black, grey, mean grey, the smoothed image
///   Posterize               bits kept, 0 (an error in Pillow; here black) .. 8
///   Solarize                values from this one on are inverted
/// Identity, AutoContrast and Equalize have no magnitude.
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

/// Gives bitwise the pixels of torchvision for a PIL image; pixels from outside the image are
/// black. image [H, W, 3] u8, CPU, contiguous; interpolation, for the five operations that move
/// pixels: nearest or bilinear. Returns [H, W, 3], perhaps the same tensor. Error::kUsage: another
/// image; bicubic. Ref: torchvision 0.26, transforms/autoaugment.py, _apply_op; Pillow 13.0,
/// ImageEnhance, ImageOps, src/libImaging/{Geometry,Blend,Filter}.c
at::Tensor apply_pixel_op(const at::Tensor& image, PixelOp op, double magnitude,
                          Interpolation interpolation = Interpolation::kNearest);

}  // namespace dissent
