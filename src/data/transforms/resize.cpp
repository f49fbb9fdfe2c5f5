#include "data/transforms/resize.hpp"

#include <dissent/tensor_check.hpp>

#include <cmath>

namespace dissent {
namespace {

constexpr int kBits = 32 - 8 - 2;  // of a weight's fraction: a sum of 8-bit values keeps a sign and one bit of overshoot

struct Filter {
  double support;
  double (*value)(double x);
};

double triangle(double x) { return std::max(0.0, 1 - std::abs(x)); }

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

double box(double x) { return x > -0.5 && x <= 0.5 ? 1 : 0; }

Filter filter_of(Interpolation interpolation) {
  if (interpolation == Interpolation::kBox) return {0.5, box};
  return interpolation == Interpolation::kBilinear ? Filter{1, triangle} : Filter{2, cubic};
}

// For each output position the first input position and the weights of those from it on.
struct Weights {
  struct Window {
    int64_t first;
    std::vector<int32_t> values;
  };
  std::vector<Window> windows;
};

Weights weights_of(int64_t in, int64_t out, const Filter& filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch;
  Weights weights;
  for (int64_t position = 0; position < out; ++position) {
    const double center = (static_cast<double>(position) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(in, static_cast<int64_t>(center + support + 0.5));
    std::vector<double> exact;
    double sum = 0;
    for (int64_t i = first; i < end; ++i) sum += exact.emplace_back(filter.value((static_cast<double>(i) - center + 0.5) * (1 / stretch)));
    Weights::Window window{first, {}};
    for (double value : exact) {
      if (sum != 0) value /= sum;
      window.values.push_back(static_cast<int32_t>(value * (1 << kBits) + (value < 0 ? -0.5 : 0.5)));
    }
    weights.windows.push_back(std::move(window));
  }
  return weights;
}

// The input position of each output position; PIL adds up the steps, which decides where a centre falls between two pixels.
std::vector<int64_t> nearest_positions(int64_t in, int64_t out) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  std::vector<int64_t> positions;
  double center = step * 0.5;
  for (int64_t i = 0; i < out; ++i, center += step) positions.push_back(std::min(in - 1, static_cast<int64_t>(center)));
  return positions;
}

at::Tensor resize_nearest(const at::Tensor& image, int64_t height, int64_t width) {
  return image.index_select(0, at::tensor(nearest_positions(image.size(0), height))).index_select(1, at::tensor(nearest_positions(image.size(1), width)));
}

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

// Along the middle dimension of [rows, positions, values]: out[r, p, v] = sum over i of weight[p][i] in[r, first[p] + i, v].
void pass(const uint8_t* in, int64_t rows, int64_t positions, int64_t values, const Weights& weights, uint8_t* out) {
  std::vector<int32_t> sums(values);
  for (int64_t r = 0; r < rows; ++r)
    for (const auto& window : weights.windows) {
      std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
      const uint8_t* source = in + (r * positions + window.first) * values;
      for (const int32_t weight : window.values) {
        for (int64_t v = 0; v < values; ++v) sums[v] += weight * source[v];
        source += values;
      }
      for (int64_t v = 0; v < values; ++v) *out++ = rounded(sums[v]);
    }
}

}  // namespace

Interpolation interpolation(const std::string& name) {
  DISSENT_CHECK(name == "nearest" || name == "bilinear" || name == "bicubic", kUsage, "interpolation: wanted nearest, bilinear or bicubic, given {}", name);
  return name == "nearest" ? Interpolation::kNearest : name == "bilinear" ? Interpolation::kBilinear : Interpolation::kBicubic;
}

at::Tensor resize(const at::Tensor& image, int64_t height, int64_t width, Interpolation interpolation) {
  const bool fits = image.defined() && image.dim() == 3 && image.scalar_type() == at::kByte && image.device().is_cpu() && image.is_contiguous() && image.numel() > 0;
  DISSENT_CHECK(fits, kUsage, "resize: image: wanted [H, W, C] Byte cpu, contiguous, given {}", describe(image));
  DISSENT_CHECK(height >= 1 && width >= 1, kUsage, "resize: height, width: wanted >= 1, given {} x {}", height, width);
  if (interpolation == Interpolation::kNearest) return resize_nearest(image, height, width);
  const auto filter = filter_of(interpolation);
  auto result = image;
  const auto horizontal = [&] {
    if (width == result.size(1)) return;
    auto wide = at::empty({result.size(0), width, result.size(2)}, at::kByte);
    pass(result.const_data_ptr<uint8_t>(), result.size(0), result.size(1), result.size(2), weights_of(result.size(1), width, filter), wide.data_ptr<uint8_t>());
    result = wide;
  };
  const auto vertical = [&] {
    if (height == result.size(0)) return;
    auto high = at::empty({height, result.size(1), result.size(2)}, at::kByte);
    pass(result.const_data_ptr<uint8_t>(), 1, result.size(0), result.size(1) * result.size(2), weights_of(result.size(0), height, filter), high.data_ptr<uint8_t>());
    result = high;
  };
  // Each pass rounds, so their order shows.
  const int64_t lost_height = image.size(0) - height, lost_width = image.size(1) - width;
  if (lost_height > 0 && lost_height > 2 * lost_width) {
    vertical();
    horizontal();
  } else {
    horizontal();
    vertical();
  }
  return result;
}

at::Tensor resize_shorter(const at::Tensor& image, int64_t size, Interpolation interpolation) {
  DISSENT_CHECK(image.defined() && image.dim() == 3 && image.numel() > 0, kUsage, "resize_shorter: image: wanted [H, W, C], given {}", describe(image));
  const int64_t height = image.size(0), width = image.size(1), shorter = std::min(height, width);
  const auto longer = static_cast<int64_t>(static_cast<double>(size * std::max(height, width)) / static_cast<double>(shorter));
  return height <= width ? resize(image, size, longer, interpolation) : resize(image, longer, size, interpolation);
}

}  // namespace dissent
