#include "data/transforms/resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

// Fractional bits of a weight, as in Pillow: a sum of 8-bit values leaves a sign and one bit of
// overshoot.
constexpr int kBits = 32 - 8 - 2;

struct Filter {
  double support;
  double (*value)(double x);
};

double triangle(double x) { return std::max(0.0, 1 - std::abs(x)); }

double cubic(double x) {
  // Keys' cubic with a = -1/2, as Pillow's BICUBIC.
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

// A pass along one axis: output positions [begin, begin + count), each with its first input
// position and the weights from there on; no windows if the axis keeps its length.
struct Edge {
  struct Window {
    int64_t first;
    std::vector<int32_t> weights;
  };
  int64_t begin, count;
  std::vector<Window> windows = {};
  // Range of input positions that are read; windows never move to the left.
  int64_t first() const { return windows.empty() ? begin : windows.front().first; }
  int64_t end() const {
    return windows.empty() ? begin + count
                           : windows.back().first + std::ssize(windows.back().weights);
  }
  // Adapts to an input without its first n positions.
  void drop(int64_t n) {
    begin -= n;
    for (auto& window : windows) window.first -= n;
  }
};

struct Range {
  int64_t first, end;
};

// The input positions under the filter around an output position.
Range under_filter(int64_t in, int64_t out, const Filter& filter, int64_t position) {
  const double scale = static_cast<double>(in) / static_cast<double>(out),
               support = filter.support * std::max(scale, 1.0);
  const double center = (static_cast<double>(position) + 0.5) * scale;
  return {std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5)),
          std::min(in, static_cast<int64_t>(center + support + 0.5))};
}

Edge edge_of(int64_t in, int64_t out, const Filter& filter, int64_t begin, int64_t count) {
  Edge edge{begin, count};
  if (in == out) return edge;

  // Where the edge shrinks, the filter is widened by the same factor: antialiasing.
  const double scale = static_cast<double>(in) / static_cast<double>(out),
               stretch = std::max(scale, 1.0);
  std::vector<double> exact;
  for (int64_t position = begin; position < begin + count; ++position) {
    const double center = (static_cast<double>(position) + 0.5) * scale;
    const auto [first, end] = under_filter(in, out, filter, position);

    // Weights of the pixels under the filter, normalised, then rounded to fixed point as Pillow
    // does.
    double sum = 0;
    exact.clear();
    for (int64_t i = first; i < end; ++i)
      sum +=
          exact.emplace_back(filter.value((static_cast<double>(i) - center + 0.5) * (1 / stretch)));

    Edge::Window window{first, {}};
    for (double value : exact) {
      if (sum != 0) value /= sum;
      window.weights.push_back(
          static_cast<int32_t>(value * (1 << kBits) + (value < 0 ? -0.5 : 0.5)));
    }
    edge.windows.push_back(std::move(window));
  }
  return edge;
}

// The input position of each output position. PIL adds up the steps, and the rounding errors of
// that sum decide ties between two pixels.
std::vector<int64_t> nearest_positions(int64_t in, int64_t out) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  std::vector<int64_t> positions;
  double center = step * 0.5;
  for (int64_t i = 0; i < out; ++i, center += step)
    positions.push_back(std::min(in - 1, static_cast<int64_t>(center)));
  return positions;
}

at::Tensor resize_nearest(const at::Tensor& image, int64_t height, int64_t width) {
  return image.index_select(0, at::tensor(nearest_positions(image.size(0), height)))
      .index_select(1, at::tensor(nearest_positions(image.size(1), width)));
}

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

// Specialised for three channels: the sums stay in registers.
void pass_colours(const uint8_t* in, const Edge& edge, uint8_t* out) {
  for (const auto& window : edge.windows) {
    // Half a unit, so that the shift in rounded() rounds to nearest.
    int32_t red = 1 << (kBits - 1), green = red, blue = red;
    const uint8_t* source = in + 3 * window.first;
    for (const int32_t weight : window.weights) {
      red += weight * source[0];
      green += weight * source[1];
      blue += weight * source[2];
      source += 3;
    }
    *out++ = rounded(red);
    *out++ = rounded(green);
    *out++ = rounded(blue);
  }
}

// out[p, v] = sum over i of weight[p][i] in[first[p] + i, v]; `values` values per position,
// positions `stride` apart.
void pass(const uint8_t* in, int64_t stride, int64_t values, const Edge& edge, uint8_t* out) {
  std::vector<int32_t> sums(values);
  for (const auto& window : edge.windows) {
    std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
    const uint8_t* source = in + window.first * stride;
    for (const int32_t weight : window.weights) {
      for (int64_t v = 0; v < values; ++v) sums[v] += weight * source[v];
      source += stride;
    }
    for (int64_t v = 0; v < values; ++v) *out++ = rounded(sums[v]);
  }
}

at::Tensor across(const at::Tensor& image, const Edge& edge) {
  if (edge.windows.empty()) return image.narrow(1, edge.begin, edge.count);
  const int64_t channels = image.size(2);
  auto result = at::empty({image.size(0), edge.count, channels}, at::kByte);
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();
  for (int64_t y = 0; y < image.size(0); ++y, in += image.stride(0), out += edge.count * channels)
    channels == 3 ? pass_colours(in, edge, out) : pass(in, channels, channels, edge, out);
  return result;
}

at::Tensor down(const at::Tensor& image, const Edge& edge) {
  if (edge.windows.empty()) return image.narrow(0, edge.begin, edge.count);
  auto result = at::empty({edge.count, image.size(1), image.size(2)}, at::kByte);
  pass(image.const_data_ptr<uint8_t>(), image.stride(0), image.size(1) * image.size(2), edge,
       result.data_ptr<uint8_t>());
  return result;
}

}  // namespace

Interpolation interpolation(const std::string& name) {
  static const std::map<std::string, Interpolation> known{{"nearest", Interpolation::kNearest},
                                                          {"bilinear", Interpolation::kBilinear},
                                                          {"bicubic", Interpolation::kBicubic}};
  const auto found = known.find(name);
  DISSENT_CHECK(found != known.end(), kUsage,
                "interpolation: expected nearest, bilinear or bicubic, found {}", name);
  return found->second;
}

at::Tensor resize(const at::Tensor& image, int64_t height, int64_t width,
                  Interpolation interpolation) {
  return resize_part(image, height, width, interpolation, {0, 0, height, width});
}

at::Tensor resize_part(const at::Tensor& image, int64_t height, int64_t width,
                       Interpolation interpolation, const ImagePart& part) {
  const bool fits = image.defined() && image.dim() == 3 && image.scalar_type() == at::kByte &&
                    image.device().is_cpu() && image.numel() > 0 && image.stride(2) == 1 &&
                    image.stride(1) == image.size(2);
  DISSENT_CHECK(fits, kUsage,
                "resize: image: expected [H, W, C] Byte cpu, rows contiguous, found {}",
                describe(image));
  DISSENT_CHECK(height >= 1 && width >= 1, kUsage,
                "resize: height, width: expected >= 1, found {} x {}", height, width);
  const bool inside = part.top >= 0 && part.left >= 0 && part.height >= 1 && part.width >= 1 &&
                      part.top + part.height <= height && part.left + part.width <= width;
  DISSENT_CHECK(inside, kUsage,
                "resize: part: expected one inside {} x {}, found {} x {} at ({}, {})", height,
                width, part.height, part.width, part.top, part.left);

  if (interpolation == Interpolation::kNearest)
    return resize_nearest(image, height, width)
        .narrow(0, part.top, part.height)
        .narrow(1, part.left, part.width)
        .contiguous();

  // Weights are computed for the requested output positions only.
  const auto filter = filter_of(interpolation);
  auto rows = edge_of(image.size(0), height, filter, part.top, part.height);
  const auto columns = edge_of(image.size(1), width, filter, part.left, part.width);

  // Each pass rounds, so the order of passes changes the result.
  const int64_t lost_height = image.size(0) - height, lost_width = image.size(1) - width;
  if (lost_height > 0 && lost_height > 2 * lost_width)
    return across(down(image, rows), columns).contiguous();

  // Only the rows that the vertical pass reads go through the horizontal one.
  const int64_t first = rows.first();
  const auto narrow = across(image.narrow(0, first, rows.end() - first), columns);
  rows.drop(first);
  return down(narrow, rows).contiguous();
}

ImagePart read_for_part(int64_t in_height, int64_t in_width, int64_t height, int64_t width,
                        Interpolation interpolation, const ImagePart& part) {
  // nearest computes positions for the whole image, so all of it counts as read. Windows never move
  // to the left: the first and last output positions give the range.
  if (interpolation == Interpolation::kNearest) return {0, 0, in_height, in_width};
  const auto filter = filter_of(interpolation);

  const auto range = [&](int64_t in, int64_t out, int64_t begin, int64_t count) {
    if (in == out) return Range{begin, begin + count};
    return Range{under_filter(in, out, filter, begin).first,
                 under_filter(in, out, filter, begin + count - 1).end};
  };
  const auto rows = range(in_height, height, part.top, part.height),
             columns = range(in_width, width, part.left, part.width);
  return {rows.first, columns.first, rows.end - rows.first, columns.end - columns.first};
}

std::array<int64_t, 2> shorter_to(int64_t height, int64_t width, int64_t size) {
  // As torchvision's Resize, which truncates the longer edge.
  const auto longer = static_cast<int64_t>(static_cast<double>(size * std::max(height, width)) /
                                           static_cast<double>(std::min(height, width)));
  return height <= width ? std::array{size, longer} : std::array{longer, size};
}

at::Tensor resize_shorter(const at::Tensor& image, int64_t size, Interpolation interpolation) {
  DISSENT_CHECK(image.defined() && image.dim() == 3 && image.numel() > 0, kUsage,
                "resize_shorter: image: expected [H, W, C], found {}", describe(image));
  const auto [height, width] = shorter_to(image.size(0), image.size(1), size);
  return resize(image, height, width, interpolation);
}

}  // namespace dissent
