#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "core/random.hpp"

namespace dissent {

/// An image of real values, [H, W, C], usually in 0 .. 1: what corruptions compute with.
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

/// The precision in which the reference divides by 255 and multiplies by it again: it cuts off to
/// levels, so it shows.
enum class Precision { kSingle, kDouble };

/// image [H, W, C] u8: value / 255.
Picture picture_of(const at::Tensor& image, Precision precision = Precision::kDouble);
/// [H, W, C] u8: 255 times the values within 0 .. 1, cut off.
at::Tensor levels_of(const Picture& picture, Precision precision = Precision::kDouble);

/// How a position outside of 0 .. extent - 1 is taken: the edge, mirrored about the edge pixel's
/// outer side (d c b a | a b c d), or its middle (d c b | a b c d).
enum class Border { kEdge, kMirror, kMirrorMiddle };
int64_t inside(int64_t position, int64_t extent, Border border);

/// With `reach` pixels more on each side.
Picture padded(const Picture& picture, int64_t reach, Border border);
/// sum += weight times the part of `picture` of sum's size whose first pixel is at (top, left).
void add_shifted(Picture& sum, double weight, const Picture& picture, int64_t top, int64_t left);

/// Gaussian blur of each channel, cut at int(truncate sigma + 1/2) pixels. Ref:
/// scipy.ndimage.gaussian_filter
Picture blurred(const Picture& picture, double sigma, double truncate, Border border);

/// Blur along a line: one half of a Gaussian of 2 radius + 1 pixels, from the pixel towards `angle`
/// degrees; rounded to levels.
/// Ref: ImageMagick, MotionBlurImage
Picture motion_blurred(const Picture& picture, double radius, double sigma, double angle);

/// The middle, enlarged by `factor` >= 1 to the same size, linearly. Ref: clipped_zoom of the
/// references; scipy.ndimage.zoom, order 1
Picture zoomed(const Picture& picture, double factor);

/// Value at a position between pixels, linearly.
double sampled(const Picture& picture, double y, double x, int64_t channel, Border border);

/// Fractal heights by midpoint displacement, [size, size, 1], scaled to 0 .. 1; size a power of
/// two; the range of what is added is divided by `decay` twice from one step to the next. Ref:
/// plasma_fractal of the references
Picture plasma(int64_t size, double decay, Random& random);

/// Frost on a pane, values 0 .. 1, one of five tints; a pixel is `step` pixels of the photographs
/// that it stands for.
Picture frost_texture(int64_t height, int64_t width, double step, Random& random);

/// image [H, W, 3] u8 through JPEG of this quality, 4:2:0, as Pillow saves and opens it.
at::Tensor through_jpeg(const at::Tensor& image, int quality);

}  // namespace dissent
