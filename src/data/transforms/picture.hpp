#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/random.hpp"

namespace dissent {

/// An image of real values, [H, W, C], usually in 0 .. 1; the corruptions compute with it.
struct Picture {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<double> values;
  Picture(int64_t h, int64_t w, int64_t c)
      : height(h), width(w), channels(c), values(static_cast<size_t>(h * w * c)) {}
  double& at(int64_t y, int64_t x, int64_t c) {
    return values[static_cast<size_t>((y * width + x) * channels + c)];
  }
  double at(int64_t y, int64_t x, int64_t c) const {
    return values[static_cast<size_t>((y * width + x) * channels + c)];
  }
};

/// The precision in which the reference divides by 255 and multiplies by it again. It matters,
/// since the result is truncated to levels.
enum class Precision { kSingle, kDouble };

/// image [H, W, C] u8: value / 255.
Picture picture_of(const at::Tensor& image, Precision precision = Precision::kDouble);
/// [H, W, C] u8: 255 times the values clamped to 0 .. 1, truncated.
at::Tensor levels_of(const Picture& picture, Precision precision = Precision::kDouble);

/// Meaning of a position outside 0 .. extent - 1: the edge pixel, mirrored about the edge pixel's
/// outer side (d c b a | a b c d), or about its middle (d c b | a b c d).
enum class Border { kEdge, kMirror, kMirrorMiddle };
/// The position inside 0 .. extent - 1 that stands for `position`.
int64_t inside(int64_t position, int64_t extent, Border border);

/// The picture with `reach` more pixels on each side.
Picture padded(const Picture& picture, int64_t reach, Border border);
/// sum += weight * (the part of `picture` with sum's size whose first pixel is at (top, left)).
void add_shifted(Picture& sum, double weight, const Picture& picture, int64_t top, int64_t left);

/// Gaussian blur of each channel, truncated at int(truncate sigma + 1/2) pixels. Ref:
/// scipy.ndimage.gaussian_filter
Picture blurred(const Picture& picture, double sigma, double truncate, Border border);

/// Blur along a line: one half of a Gaussian of 2 radius + 1 pixels, from the pixel towards `angle`
/// degrees; rounded to levels.
/// Ref: ImageMagick, MotionBlurImage
Picture motion_blurred(const Picture& picture, double radius, double sigma, double angle);

/// The middle part, enlarged by `factor` >= 1 to the same size with linear interpolation. Ref:
/// clipped_zoom of the references; scipy.ndimage.zoom, order 1
Picture zoomed(const Picture& picture, double factor);

/// Value at a position between pixels, by bilinear interpolation.
double sampled(const Picture& picture, double y, double x, int64_t channel, Border border);

/// Fractal heights by midpoint displacement (diamond-square), [size, size, 1], scaled to 0 .. 1;
/// size a power of two. A step's displacement is w times a uniform draw from -w .. w, and w is
/// divided by `decay` from one step to the next. Ref: plasma_fractal of the references
Picture plasma(int64_t size, double decay, Random& random);

/// Frost on a pane, values 0 .. 1, in one of five tints; a pixel covers `step` pixels of the
/// reference's photographs.
Picture frost_texture(int64_t height, int64_t width, double step, Random& random);

/// image [H, W, 3] u8 after a JPEG round trip with this quality, 4:2:0, as saved and opened by
/// Pillow.
at::Tensor through_jpeg(const at::Tensor& image, int quality);

}  // namespace dissent
