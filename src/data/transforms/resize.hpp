#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>

#include "data/images/image_part.hpp"

namespace dissent {

enum class Interpolation { kNearest, kBilinear, kBicubic, kBox };

/// "nearest", "bilinear" or "bicubic"; Error::kUsage otherwise.
Interpolation interpolation(const std::string& name);

/// Resizes 8-bit images bitwise as PIL's Image.resize: per axis a triangle (support 1), cubic (a =
/// -0.5, support 2) or box (1/2) filter, widened by the scale if the axis shrinks (antialiasing),
/// weights normalised over the pixels inside and rounded to 22 fractional bits; one pass per axis,
/// each rounded to u8. An axis that keeps its length is not changed. The horizontal pass comes
/// first, unless the height loses more than twice as many pixels as the width (Pillow 13; earlier
/// releases always began with the horizontal pass, which differs by a level in some pixels).
/// nearest takes the pixel under the output pixel's centre. image [H, W, C] u8 on the CPU with
/// contiguous rows (a window of an image is allowed); height, width >= 1. Returns [height, width,
/// C]. Ref: Pillow 13.0, src/libImaging/{Resample,Geometry}.c; cases networks.h5, kind preprocess
at::Tensor resize(const at::Tensor& image, int64_t height, int64_t width,
                  Interpolation interpolation);

/// A part of the result of resize, bitwise the same, computing only what it needs. Error::kUsage
/// also for a part outside height x width.
at::Tensor resize_part(const at::Tensor& image, int64_t height, int64_t width,
                       Interpolation interpolation, const ImagePart& part);

/// The part of an image of in_height x in_width that resize_part reads.
ImagePart read_for_part(int64_t in_height, int64_t in_width, int64_t height, int64_t width,
                        Interpolation interpolation, const ImagePart& part);

/// Height and width of an image whose shorter edge becomes `size`, the longer trunc(size * longer /
/// shorter).
std::array<int64_t, 2> shorter_to(int64_t height, int64_t width, int64_t size);

/// resize so that the shorter edge becomes `size`: torchvision's Resize(int).
at::Tensor resize_shorter(const at::Tensor& image, int64_t size, Interpolation interpolation);

}  // namespace dissent
