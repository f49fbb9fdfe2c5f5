// Noise and blur.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "data/transforms/corruption_kinds.hpp"
#include "data/transforms/distributions.hpp"
#include "data/transforms/picture.hpp"

namespace dissent::corruptions {
namespace {

constexpr double kGlassTruncate = 4;  // default of skimage's gaussian

// A disk of this radius on a grid of at least 17 x 17 pixels, blurred over 3 x 3 or 5 x 5 pixels.
// Sums to 1.
Picture disk(double radius, double edge_sigma) {
  const auto reach = radius <= 8 ? int64_t{8} : static_cast<int64_t>(radius),
             edge = radius <= 8 ? int64_t{1} : int64_t{2}, size = 2 * reach + 1;

  // The disk: 1 inside the radius, 0 outside.
  Picture whole(size, size, 1), result = whole;
  double count = 0, sum = 0;
  for (int64_t y = -reach; y <= reach; ++y)
    for (int64_t x = -reach; x <= reach; ++x)
      if (static_cast<double>(x * x + y * y) <= radius * radius) {
        whole.at(y + reach, x + reach, 0) = 1;
        ++count;
      }

  // The Gaussian kernel, which is the product of two one-dimensional ones.
  std::vector<double> kernel;
  for (int64_t i = -edge; i <= edge; ++i)
    sum +=
        kernel.emplace_back(std::exp(-static_cast<double>(i * i) / (2 * edge_sigma * edge_sigma)));

  // Blur the edge; dividing by the number of pixels makes the weights sum to 1.
  for (int64_t y = 0; y < size; ++y)
    for (int64_t x = 0; x < size; ++x)
      for (int64_t i = -edge; i <= edge; ++i)
        for (int64_t j = -edge; j <= edge; ++j) {
          const double weight = kernel[static_cast<size_t>(i + edge)] *
                                kernel[static_cast<size_t>(j + edge)] / (sum * sum);
          result.at(y, x, 0) += weight *
                                whole.at(inside(y + i, size, Border::kMirrorMiddle),
                                         inside(x + j, size, Border::kMirrorMiddle), 0) /
                                count;
        }
  return result;
}

}  // namespace

at::Tensor gaussian_noise(const at::Tensor& image, const Row& row, Random& random) {
  auto picture = picture_of(image);
  for (auto& value : picture.values) value += row[0] * draw_normal(random);
  return levels_of(picture);
}

at::Tensor shot_noise(const at::Tensor& image, const Row& row, Random& random) {
  // The value is the mean number of photons in units of row[0]: fewer photons, more noise.
  auto picture = picture_of(image);
  for (auto& value : picture.values) value = draw_poisson(random, value * row[0]) / row[0];
  return levels_of(picture);
}

at::Tensor impulse_noise(const at::Tensor& image, const Row& row, Random& random) {
  // Salt and pepper noise: a value is replaced with probability row[0], by white or black
  // with equal probability.
  auto result = image.clone();
  auto* values = result.data_ptr<uint8_t>();
  for (int64_t i = 0; i < result.numel(); ++i)
    if (random.uniform() < row[0]) values[i] = random.below(2) == 1 ? 255 : 0;
  return result;
}

at::Tensor defocus_blur(const at::Tensor& image, const Row& row, Random&) {
  const auto picture = picture_of(image), kernel = disk(row[0], row[1]);
  Picture result(picture.height, picture.width, picture.channels);
  const int64_t reach = kernel.height / 2;

  // Convolution as a sum of shifted images, over the nonzero pixels of the disk.
  const auto wide = padded(picture, reach, Border::kMirrorMiddle);
  for (int64_t i = 0; i < kernel.height; ++i)
    for (int64_t j = 0; j < kernel.width; ++j)
      if (kernel.at(i, j, 0) != 0) add_shifted(result, kernel.at(i, j, 0), wide, i, j);
  return levels_of(result);
}

// The reference intends to swap two pixels, but assigns views of one array: the first pixel gets
// the values of the second, and the second keeps its own. ImageNet-C was made that way, so it is
// reproduced here.
at::Tensor glass_blur(const at::Tensor& image, const Row& row, Random& random) {
  auto levels = levels_of(blurred(picture_of(image), row[0], kGlassTruncate, Border::kEdge));
  const auto far = static_cast<int64_t>(row[1]);
  const int64_t height = levels.size(0), width = levels.size(1), channels = levels.size(2);
  auto* values = levels.data_ptr<uint8_t>();

  // A distance in -far .. far - 1, as numpy's randint(-far, far).
  const auto near = [&] {
    return static_cast<int64_t>(random.below(static_cast<uint32_t>(2 * far))) - far;
  };

  // In place and from the lower right corner on, as in the reference: later pixels copy from ones
  // that were replaced already.
  for (int64_t round = 0; round < static_cast<int64_t>(row[2]); ++round)
    for (int64_t y = height - far; y > far; --y)
      for (int64_t x = width - far; x > far; --x) {
        const int64_t other_x = x + near(), other_y = y + near();
        std::copy_n(values + (other_y * width + other_x) * channels, channels,
                    values + (y * width + x) * channels);
      }
  return levels_of(blurred(picture_of(levels), row[0], kGlassTruncate, Border::kEdge));
}

at::Tensor motion_blur(const at::Tensor& image, const Row& row, Random& random) {
  const auto result =
      motion_blurred(picture_of(image), row[0], row[1], draw_uniform(random, -45, 45));

  // Rounded, while the other corruptions truncate.
  auto levels = at::empty_like(image);
  auto* out = levels.data_ptr<uint8_t>();
  for (const double value : result.values) *out++ = static_cast<uint8_t>(value * 255 + 0.5);
  return levels;
}

at::Tensor zoom_blur(const at::Tensor& image, const Row& row, Random&) {
  auto sum = picture_of(image, Precision::kSingle);
  const auto picture = sum;

  // The image and its enlargements by 1, 1 + step, ... are averaged. The first factor is 1, so the
  // image itself counts twice, as in the reference.
  for (int64_t i = 0; i < static_cast<int64_t>(row[0]); ++i) {
    const auto layer = zoomed(picture, 1 + static_cast<double>(i) * row[1]);
    for (size_t k = 0; k < sum.values.size(); ++k) sum.values[k] += layer.values[k];
  }
  for (auto& value : sum.values) value /= row[0] + 1;
  return levels_of(sum, Precision::kSingle);
}

}  // namespace dissent::corruptions
