// Weather and digital corruptions.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "data/transforms/corruption_kinds.hpp"
#include "data/transforms/distributions.hpp"
#include "data/transforms/picture.hpp"
#include "data/transforms/resize.hpp"

namespace dissent::corruptions {
namespace {

struct Point {
  double x, y;
};

// The affine map that takes each `from` to its `to`: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5;
// zeros if the three points are collinear.
std::array<double, 6> affine_map(const std::array<Point, 3>& from, const std::array<Point, 3>& to) {
  // Relative to from[0] the two other points span the plane; Cramer's rule gives the 2 x 2 part of
  // the map, and from[0] -> to[0] its shift.
  const Point a{from[1].x - from[0].x, from[1].y - from[0].y},
      b{from[2].x - from[0].x, from[2].y - from[0].y};
  const double determinant = a.x * b.y - a.y * b.x,
               inverse = determinant == 0 ? 0 : 1 / determinant;

  const auto row = [&](double v0, double v1, double v2) {
    const double mx = ((v1 - v0) * b.y - (v2 - v0) * a.y) * inverse,
                 my = ((v2 - v0) * a.x - (v1 - v0) * b.x) * inverse;
    return std::array<double, 3>{mx, my, v0 - mx * from[0].x - my * from[0].y};
  };
  const auto x = row(to[0].x, to[1].x, to[2].x), y = row(to[0].y, to[1].y, to[2].y);
  return {x[0], x[1], x[2], y[0], y[1], y[2]};
}

// The image under the affine map that shifts three inner points by up to `most` pixels per axis.
Picture shifted_corners(const Picture& picture, double most, Random& random) {
  // Halves and thirds of edges are integers in the reference.
  const auto half_y = static_cast<double>(picture.height / 2),
             half_x = static_cast<double>(picture.width / 2);
  const auto square = static_cast<double>(std::min(picture.height, picture.width) / 3);

  // The reference uses (height, width) as (x, y), which is the same for square images; all of its
  // images are square.
  const std::array<Point, 3> before{{{half_x + square, half_y + square},
                                     {half_x + square, half_y - square},
                                     {half_x - square, half_y - square}}};

  auto after = before;
  for (auto& point : after) {
    point.x += draw_uniform(random, -most, most);
    point.y += draw_uniform(random, -most, most);
  }

  // Each output pixel is sampled at its place under the inverse map, after -> before.
  const auto m = affine_map(after, before);
  Picture result(picture.height, picture.width, picture.channels);
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) {
      const auto at_x = static_cast<double>(x), at_y = static_cast<double>(y);
      for (int64_t c = 0; c < picture.channels; ++c)
        result.at(y, x, c) = sampled(picture, m[3] * at_x + m[4] * at_y + m[5],
                                     m[0] * at_x + m[1] * at_y + m[2], c, Border::kMirrorMiddle);
    }
  return result;
}

// Uniform noise in -1 .. 1 per pixel, smoothed, times `length`.
Picture displacement(const Picture& picture, double length, double sigma, Random& random) {
  constexpr double kTruncate = 3;
  Picture field(picture.height, picture.width, 1);
  for (auto& value : field.values) value = draw_uniform(random, -1, 1);
  field = blurred(field, sigma, kTruncate, Border::kMirror);
  for (auto& value : field.values) value *= length;
  return field;
}

// Adds `added` to V of HSV, computed as skimage's rgb2hsv and hsv2rgb.
void brighten(double* rgb, double added) {
  const double red = rgb[0], green = rgb[1], blue = rgb[2], most = std::max({red, green, blue}),
               delta = most - std::min({red, green, blue});

  // RGB to HSV, hue in [0, 1).
  double hue = 0, saturation = 0;
  if (delta > 0) {
    saturation = delta / most;
    if (blue == most)
      hue = 4 + (red - green) / delta;
    else if (green == most)
      hue = 2 + (blue - red) / delta;
    else
      hue = (green - blue) / delta;
    hue = hue / 6 - std::floor(hue / 6);
  }

  // Back to RGB with the larger value: in each sixth of the hue circle the channels are another
  // permutation of v, p, q, t.
  const double v = std::clamp(most + added, 0.0, 1.0), sector = std::floor(hue * 6),
               f = hue * 6 - sector;
  const double p = v * (1 - saturation), q = v * (1 - f * saturation),
               t = v * (1 - (1 - f) * saturation);
  const std::array<std::array<double, 3>, 6> sectors{
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::copy_n(sectors[static_cast<size_t>(sector) % 6].begin(), 3, rgb);
}

}  // namespace

at::Tensor snow(const at::Tensor& image, const Row& row, Random& random) {
  auto picture = picture_of(image, Precision::kSingle);

  // The flakes: normal noise, enlarged, cut at a threshold, blurred along a random direction.
  Picture layer(picture.height, picture.width, 1);
  for (auto& value : layer.values) value = row[0] + row[1] * draw_normal(random);
  layer = zoomed(layer, row[2]);
  for (auto& value : layer.values)
    value = value < row[3] ? 0 : std::floor(std::clamp(value, 0.0, 1.0) * 255) / 255;
  layer = motion_blurred(layer, row[4], row[5], draw_uniform(random, -135, -45));

  // The image fades towards grey; the layer is added twice, the second time turned by 180 degrees.
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) {
      const double grey =
          0.299 * picture.at(y, x, 0) + 0.587 * picture.at(y, x, 1) + 0.114 * picture.at(y, x, 2);
      const double flakes =
          layer.at(y, x, 0) + layer.at(picture.height - 1 - y, picture.width - 1 - x, 0);
      for (int64_t c = 0; c < picture.channels; ++c) {
        auto& value = picture.at(y, x, c);
        value = row[6] * value + (1 - row[6]) * std::max(value, grey * 1.5 + 0.5) + flakes;
      }
    }

  return levels_of(picture);
}

at::Tensor frost(const at::Tensor& image, const Row& row, Random& random) {
  // row[0] x image + row[1] x frost, clamped. The texture replaces the reference's photographs.
  auto picture = picture_of(image);
  const auto pane = frost_texture(picture.height, picture.width, row[2], random);
  for (size_t i = 0; i < picture.values.size(); ++i)
    picture.values[i] = row[0] * picture.values[i] + row[1] * pane.values[i];
  return levels_of(picture);
}

at::Tensor fog(const at::Tensor& image, const Row& row, Random& random) {
  auto picture = picture_of(image);
  const double most = *std::max_element(picture.values.begin(), picture.values.end());

  // The fractal needs a power of two; its upper left part covers the image.
  const auto size = std::bit_ceil(static_cast<uint64_t>(std::max(picture.height, picture.width)));
  const auto heights = plasma(static_cast<int64_t>(size), row[1], random);

  // Add the fog and rescale, so that values stay in the range of the image.
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x)
      for (int64_t c = 0; c < picture.channels; ++c)
        picture.at(y, x, c) =
            (picture.at(y, x, c) + row[0] * heights.at(y, x, 0)) * most / (most + row[0]);
  return levels_of(picture);
}

at::Tensor brightness(const at::Tensor& image, const Row& row, Random&) {
  auto picture = picture_of(image);
  for (size_t i = 0; i < picture.values.size(); i += 3) brighten(picture.values.data() + i, row[0]);
  return levels_of(picture);
}

at::Tensor contrast(const at::Tensor& image, const Row& row, Random&) {
  // v -> (v - m) c + m, with the mean m of each channel.
  auto picture = picture_of(image);
  std::array<double, 3> means{};
  for (size_t i = 0; i < picture.values.size(); ++i) means[i % 3] += picture.values[i];
  for (auto& mean : means) mean /= static_cast<double>(picture.height * picture.width);
  for (size_t i = 0; i < picture.values.size(); ++i)
    picture.values[i] = (picture.values[i] - means[i % 3]) * row[0] + means[i % 3];
  return levels_of(picture);
}

at::Tensor elastic_transform(const at::Tensor& image, const Row& row, Random& random) {
  const auto picture = shifted_corners(picture_of(image, Precision::kSingle), row[2], random);
  const auto right = displacement(picture, row[0], row[1], random),
             down = displacement(picture, row[0], row[1], random);

  // Each pixel is sampled at its displaced position.
  Picture result(picture.height, picture.width, picture.channels);
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x)
      for (int64_t c = 0; c < picture.channels; ++c)
        result.at(y, x, c) =
            sampled(picture, static_cast<double>(y) + down.at(y, x, 0),
                    static_cast<double>(x) + right.at(y, x, 0), c, Border::kMirror);
  return levels_of(result, Precision::kSingle);
}

at::Tensor pixelate(const at::Tensor& image, const Row& row, Random&) {
  const auto part = [&](int64_t edge) {
    return static_cast<int64_t>(static_cast<double>(edge) * row[0]);
  };

  // Blocks of one colour: the box filter averages when it shrinks and repeats pixels when it
  // enlarges.
  const auto small = resize(image, part(image.size(0)), part(image.size(1)), Interpolation::kBox);
  return resize(small, image.size(0), image.size(1), Interpolation::kBox);
}

at::Tensor jpeg_compression(const at::Tensor& image, const Row& row, Random&) {
  return through_jpeg(image, static_cast<int>(row[0]));
}

}  // namespace dissent::corruptions
