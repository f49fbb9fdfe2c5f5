// Frost: the reference overlays photographs; this is a generated texture with their colours.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "data/transforms/distributions.hpp"
#include "data/transforms/picture.hpp"

namespace dissent {
namespace {

// Mean and deviation per channel of the five photographs that the reference draws from, in levels
// (two of them are the same picture).
struct Tint {
  std::array<double, 3> mean, deviation;
};
constexpr std::array<Tint, 5> kTints{{{{78, 149, 166}, {27, 17, 15}},
                                      {{201, 205, 214}, {21, 22, 23}},
                                      {{201, 205, 214}, {21, 22, 23}},
                                      {{138, 153, 165}, {28, 28, 30}},
                                      {{112, 123, 135}, {44, 43, 42}}}};

// The finaliser of splitmix64: each bit of the result depends on all bits of x.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// A random function of the plane with features of size 1, in -1 .. 1: random values at integer
// positions, interpolated smoothly.
struct Noise {
  uint64_t seed;
  explicit Noise(Random& random) : seed((uint64_t{random.next()} << 32) | random.next()) {}
  double corner(int64_t x, int64_t y) const {
    return static_cast<double>(mix(mix(seed + static_cast<uint64_t>(x) * 0x9e3779b97f4a7c15ULL) +
                                   static_cast<uint64_t>(y)) >>
                               32) *
               0x1p-31 -
           1;
  }
  double operator()(double x, double y) const {
    const double left = std::floor(x), top = std::floor(y), dx = x - left, dy = y - top;

    // The polynomial 3 t^2 - 2 t^3 has slope 0 at both ends, so the noise has no edges along its
    // grid.
    const double sx = dx * dx * (3 - 2 * dx), sy = dy * dy * (3 - 2 * dy);
    const auto i = static_cast<int64_t>(left), j = static_cast<int64_t>(top);
    const double upper = corner(i, j) + (corner(i + 1, j) - corner(i, j)) * sx,
                 lower = corner(i, j + 1) + (corner(i + 1, j + 1) - corner(i, j + 1)) * sx;
    return upper + (lower - upper) * sy;
  }
};

// Ridges (where the noise crosses 0) along one direction: long along it, narrow across it.
struct Crystals {
  Noise noise;
  double cosine, sine, width, strength;
  Crystals(Random& random, double feature, double weight)
      : noise(random), width(feature), strength(weight) {
    const double turn = draw_uniform(random, 0, std::numbers::pi);
    cosine = std::cos(turn);
    sine = std::sin(turn);
  }
  double operator()(double x, double y) const {
    // 1 - 2 |noise| is 1 where the noise crosses 0 and falls off on both sides: a ridge.
    constexpr double kLength = 3.5;  // length of a crystal over its width
    const double along = (cosine * x + sine * y) / (kLength * width),
                 across = (cosine * y - sine * x) / width;
    return strength * (1 - 2 * std::abs(noise(along, across)));
  }
};

// Scales the values to mean 0 and deviation 1.
void standardise(std::vector<double>& values) {
  // Two passes: subtracting the mean first keeps the squares exact enough. A constant field has
  // deviation 0 and stays 0.
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  for (auto& value : values) {
    value -= mean;
    squares += value * value;
  }
  const double deviation = std::sqrt(squares / static_cast<double>(values.size()));
  for (auto& value : values) value /= std::max(deviation, 1e-12);
}

}  // namespace

Picture frost_texture(int64_t height, int64_t width, double step, Random& random) {
  constexpr double
      kLargest = 64,
      kSmallest = 2,
      kRoughness = 0.2;  // features in pixels of the photographs; strength ~ feature ^ roughness
  constexpr int kDirections = 3;
  constexpr double kBend = 24, kBendSize = 70;

  // One tint per image; layers of crystals of halving size, each with several directions.
  const auto& tint = kTints[random.below(kTints.size())];
  const Noise bend_x(random), bend_y(random);
  std::vector<Crystals> layers;
  for (double feature = kLargest; feature >= kSmallest && feature >= 2 * step; feature /= 2)
    for (int i = 0; i < kDirections; ++i)
      layers.emplace_back(random, feature, std::pow(feature, kRoughness));

  // The height of a pixel is the sum over layers of their highest ridge. Positions are bent by a
  // smooth noise first, since straight crystals look drawn.
  std::vector<double> heights;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const double u = static_cast<double>(x) * step, v = static_cast<double>(y) * step;
      const double bent_u = u + kBend * bend_x(u / kBendSize, v / kBendSize),
                   bent_v = v + kBend * bend_y(u / kBendSize, v / kBendSize);
      double sum = 0;
      for (size_t i = 0; i < layers.size(); i += kDirections) {
        double ridge = layers[i](bent_u, bent_v);
        for (size_t k = 1; k < kDirections; ++k)
          ridge = std::max(ridge, layers[i + k](bent_u, bent_v));
        sum += ridge;
      }
      heights.push_back(sum);
    }

  // The heights get the mean and deviation of the tint in each channel.
  standardise(heights);
  Picture pane(height, width, 3);
  for (size_t i = 0; i < pane.values.size(); ++i)
    pane.values[i] =
        std::clamp(tint.mean[i % 3] + tint.deviation[i % 3] * heights[i / 3], 0.0, 255.0) / 255;
  return pane;
}

}  // namespace dissent
