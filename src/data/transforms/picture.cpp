#include "data/transforms/picture.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "data/transforms/distributions.hpp"

namespace dissent {
namespace {

// Row i of a blur along an edge of n pixels: weights of the pixels first .. first + size - 1.
struct BlurRow {
  int64_t first = 0;
  std::vector<double> weights;
};

std::vector<BlurRow> blur_rows(int64_t n, double sigma, double truncate, Border border) {
  // scipy.ndimage: the kernel ends at int(truncate sigma + 0.5) pixels and sums to 1.
  const auto radius = static_cast<int64_t>(truncate * sigma + 0.5);
  std::vector<double> kernel;
  double sum = 0;
  for (int64_t i = -radius; i <= radius; ++i)
    sum += kernel.emplace_back(std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma)));

  // Weights that the border maps to the same pixel are added.
  std::vector<BlurRow> rows;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> whole(static_cast<size_t>(n));
    int64_t first = n - 1, last = 0;
    for (int64_t k = -radius; k <= radius; ++k) {
      const int64_t j = inside(i + k, n, border);
      whole[static_cast<size_t>(j)] += kernel[static_cast<size_t>(k + radius)] / sum;
      first = std::min(first, j);
      last = std::max(last, j);
    }
    rows.push_back({first, {whole.begin() + first, whole.begin() + last + 1}});
  }
  return rows;
}

}  // namespace

Picture picture_of(const at::Tensor& image, Precision precision) {
  // Values are doubles that hold an f32 where the reference computes in f32.
  Picture picture(image.size(0), image.size(1), image.size(2));
  const auto* in = image.const_data_ptr<uint8_t>();
  for (size_t i = 0; i < picture.values.size(); ++i) {
    const double value = in[i] / 255.0;
    picture.values[i] = precision == Precision::kSingle ? static_cast<float>(value) : value;
  }
  return picture;
}

at::Tensor levels_of(const Picture& picture, Precision precision) {
  // Truncated, not rounded, as numpy's astype(uint8) in the reference.
  auto image = at::empty({picture.height, picture.width, picture.channels}, at::kByte);
  auto* out = image.data_ptr<uint8_t>();
  for (const double value : picture.values) {
    const double kept = std::clamp(value, 0.0, 1.0);
    *out++ = static_cast<uint8_t>(
        precision == Precision::kSingle ? static_cast<float>(kept) * 255.0f : kept * 255.0);
  }
  return image;
}

int64_t inside(int64_t position, int64_t extent, Border border) {
  if (position >= 0 && position < extent) return position;

  if (border == Border::kEdge || extent == 1) return std::clamp<int64_t>(position, 0, extent - 1);

  // Mirrored with the outermost pixel repeated (period 2n), or with it as the axis (period 2n - 2).
  const int64_t period = border == Border::kMirror ? 2 * extent : 2 * extent - 2;
  const int64_t turned = ((position % period) + period) % period;
  if (turned < extent) return turned;
  return border == Border::kMirror ? period - 1 - turned : period - turned;
}

Picture blurred(const Picture& picture, double sigma, double truncate, Border border) {
  if (sigma <= 0) return picture;
  Picture down(picture.height, picture.width, picture.channels), result = down;

  const int64_t line = picture.width * picture.channels;
  const auto rows = blur_rows(picture.height, sigma, truncate, border),
             columns = blur_rows(picture.width, sigma, truncate, border);

  // The Gaussian is separable: first along columns, then along rows. The first pass runs over whole
  // lines of memory, which is much faster than pixel by pixel.
  for (int64_t y = 0; y < picture.height; ++y) {
    const auto& row = rows[static_cast<size_t>(y)];
    auto* out = down.values.data() + y * line;
    for (size_t k = 0; k < row.weights.size(); ++k) {
      const auto* in = picture.values.data() + (row.first + static_cast<int64_t>(k)) * line;
      for (int64_t i = 0; i < line; ++i) out[i] += row.weights[k] * in[i];
    }
  }
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) {
      const auto& column = columns[static_cast<size_t>(x)];
      for (size_t k = 0; k < column.weights.size(); ++k)
        for (int64_t c = 0; c < picture.channels; ++c)
          result.at(y, x, c) +=
              column.weights[k] * down.at(y, column.first + static_cast<int64_t>(k), c);
    }

  return result;
}

Picture padded(const Picture& picture, int64_t reach, Border border) {
  Picture result(picture.height + 2 * reach, picture.width + 2 * reach, picture.channels);
  for (int64_t y = 0; y < result.height; ++y)
    for (int64_t x = 0; x < result.width; ++x)
      for (int64_t c = 0; c < picture.channels; ++c)
        result.at(y, x, c) = picture.at(inside(y - reach, picture.height, border),
                                        inside(x - reach, picture.width, border), c);
  return result;
}

void add_shifted(Picture& sum, double weight, const Picture& picture, int64_t top, int64_t left) {
  const int64_t line = sum.width * sum.channels;
  for (int64_t y = 0; y < sum.height; ++y) {
    const double* in =
        picture.values.data() + ((y + top) * picture.width + left) * picture.channels;
    double* out = sum.values.data() + y * line;
    for (int64_t i = 0; i < line; ++i) out[i] += weight * in[i];
  }
}

Picture motion_blurred(const Picture& picture, double radius, double sigma, double angle) {
  const auto taps = static_cast<int64_t>(2 * std::ceil(radius) + 1);
  const double turn = angle * std::numbers::pi / 180;

  // The positive half of a Gaussian, normalised.
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = 0; i < taps; ++i)
    sum += weights.emplace_back(std::exp(-static_cast<double>(i * i) / (2 * sigma * sigma)));

  // Step i of the line is the pixel nearest to i along the direction.
  const auto wide = padded(picture, taps, Border::kEdge);
  Picture result(picture.height, picture.width, picture.channels);
  for (int64_t i = 0; i < taps; ++i) {
    const auto dx = static_cast<int64_t>(std::ceil(static_cast<double>(i) * std::cos(turn) - 0.5)),
               dy = static_cast<int64_t>(std::ceil(static_cast<double>(i) * std::sin(turn) - 0.5));
    add_shifted(result, weights[static_cast<size_t>(i)] / sum, wide, taps + dy, taps + dx);
  }

  // ImageMagick's result is an image of 8-bit levels.
  for (auto& value : result.values) value = std::floor(value * 255 + 0.5) / 255;
  return result;
}

Picture zoomed(const Picture& picture, double factor) {
  struct Axis {
    int64_t begin, cut;  // begin: first pixel of the part that is enlarged; cut: pixels of the
                         // enlarged part before the result
    double step;         // pixels of the part per pixel of the result
    double last;
  };

  // The reference cuts out the middle part, enlarges it with scipy.ndimage.zoom, which rounds the
  // new size, and cuts the middle of the result: both cuts become offsets here. scipy maps the
  // first and last pixels onto each other, so the factor is the ratio of lengths minus one.
  const auto axis = [&](int64_t extent) {
    const auto part = static_cast<int64_t>(std::ceil(static_cast<double>(extent) / factor));
    const auto grown = static_cast<int64_t>(std::nearbyint(static_cast<double>(part) * factor));
    return Axis{(extent - part) / 2, (grown - extent) / 2,
                grown > 1 ? static_cast<double>(part - 1) / static_cast<double>(grown - 1) : 0,
                static_cast<double>(part - 1)};
  };

  const auto rows = axis(picture.height), columns = axis(picture.width);
  Picture result(picture.height, picture.width, picture.channels);

  // Positions of the result map linearly onto the part in the middle.
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) {
      const double in_y = static_cast<double>(rows.begin) +
                          std::min(static_cast<double>(y + rows.cut) * rows.step, rows.last);
      const double in_x =
          static_cast<double>(columns.begin) +
          std::min(static_cast<double>(x + columns.cut) * columns.step, columns.last);
      for (int64_t c = 0; c < picture.channels; ++c)
        result.at(y, x, c) = sampled(picture, in_y, in_x, c, Border::kEdge);
    }
  return result;
}

double sampled(const Picture& picture, double y, double x, int64_t channel, Border border) {
  const double top = std::floor(y), left = std::floor(x), dy = y - top, dx = x - left;
  const auto row = [&](double value) {
    return inside(static_cast<int64_t>(value), picture.height, border);
  };
  const auto column = [&](double value) {
    return inside(static_cast<int64_t>(value), picture.width, border);
  };
  const int64_t y0 = row(top), y1 = row(top + 1), x0 = column(left), x1 = column(left + 1);

  // Bilinear between the four neighbours.
  const double upper = (1 - dx) * picture.at(y0, x0, channel) + dx * picture.at(y0, x1, channel);
  const double lower = (1 - dx) * picture.at(y1, x0, channel) + dx * picture.at(y1, x1, channel);
  return (1 - dy) * upper + dy * lower;
}

Picture plasma(int64_t size, double decay, Random& random) {
  Picture map(size, size, 1);
  double wibble = 100;

  // The mean of four neighbours plus a displacement; the map is periodic.
  const auto set = [&](int64_t y, int64_t x, int64_t half, bool square) {
    const auto point = [&](int64_t dy, int64_t dx) {
      return map.at((y + dy + size) % size, (x + dx + size) % size, 0);
    };
    const double sum =
        square ? point(-half, -half) + point(-half, half) + point(half, -half) + point(half, half)
               : point(-half, 0) + point(half, 0) + point(0, -half) + point(0, half);
    map.at(y, x, 0) = sum / 4 + wibble * draw_uniform(random, -wibble, wibble);
  };

  // Diamond-square: per step first the centres of squares, then the centres of both kinds of edges;
  // the displacement shrinks from step to step.
  for (int64_t step = size; step >= 2; step /= 2, wibble /= decay) {
    const int64_t half = step / 2;
    for (int64_t y = half; y < size; y += step)
      for (int64_t x = half; x < size; x += step) set(y, x, half, true);
    for (int64_t y = 0; y < size; y += step)
      for (int64_t x = half; x < size; x += step) set(y, x, half, false);
    for (int64_t y = half; y < size; y += step)
      for (int64_t x = 0; x < size; x += step) set(y, x, half, false);
  }

  // The fog needs heights in 0 .. 1, whatever the displacements were.
  const auto [low, high] = std::minmax_element(map.values.begin(), map.values.end());
  const double from = *low, range = *high - *low;
  for (auto& value : map.values) value = (value - from) / range;
  return map;
}

}  // namespace dissent
