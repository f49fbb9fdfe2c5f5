// The table of corruptions.
#include "data/transforms/corruption.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/option_table.hpp"
#include "core/tensor_check.hpp"
#include "data/transforms/corruption_kinds.hpp"
#include "data/transforms/corruption_names.hpp"

namespace dissent {
namespace {

constexpr int64_t kMostCifarEdge = 48, kMostTinyEdge = 128, kLeastEdge = 8, kSeverities = 5;

// A name of the list that tables and sheets read; another one does not compile.
consteval const char* listed(const char* name) {
  if (!std::ranges::count(kCorruptionNames, std::string_view(name)))
    throw "this name is not in kCorruptionNames";
  return name;
}

std::vector<CorruptionSpec> noise() {
  // Three tables of strengths, for images as large as CIFAR's, Tiny ImageNet's and ImageNet's; in
  // each a row of parameters per severity.
  return {
      {listed("gaussian_noise"),
       "noise",
       "Gaussian noise on each value",
       {{{0.04}, {0.06}, {0.08}, {0.09}, {0.10}}},
       {{{0.04}, {0.08}, {0.12}, {0.15}, {0.18}}},
       {{{0.08}, {0.12}, {0.18}, {0.26}, {0.38}}},
       corruptions::gaussian_noise},

      {listed("shot_noise"),
       "noise",
       "Poisson noise of photon counts",
       {{{500}, {250}, {100}, {75}, {50}}},
       {{{250}, {100}, {50}, {30}, {15}}},
       {{{60}, {25}, {12}, {5}, {3}}},
       corruptions::shot_noise},

      {listed("impulse_noise"),
       "noise",
       "random values set to black or white",
       {{{0.01}, {0.02}, {0.03}, {0.05}, {0.07}}},
       {{{0.01}, {0.02}, {0.05}, {0.08}, {0.14}}},
       {{{0.03}, {0.06}, {0.09}, {0.17}, {0.27}}},
       corruptions::impulse_noise},
  };
}

std::vector<CorruptionSpec> blur() {
  // The columns of a row are named in corruption_kinds.hpp.
  return {
      {listed("defocus_blur"),
       "blur",
       "each pixel spread over a disk",
       {{{0.3, 0.4}, {0.4, 0.5}, {0.5, 0.6}, {1, 0.2}, {1.5, 0.1}}},
       {{{0.5, 0.6}, {1, 0.1}, {1.5, 0.1}, {2.5, 0.01}, {3, 0.1}}},
       {{{3, 0.1}, {4, 0.5}, {6, 0.5}, {8, 0.5}, {10, 0.5}}},
       corruptions::defocus_blur},

      {listed("glass_blur"),
       "blur",
       "pixels replaced by neighbours, between two Gaussian blurs",
       {{{0.05, 1, 1}, {0.25, 1, 1}, {0.4, 1, 1}, {0.25, 1, 2}, {0.4, 1, 2}}},
       {{{0.1, 1, 1}, {0.5, 1, 1}, {0.6, 1, 2}, {0.7, 2, 1}, {0.9, 2, 2}}},
       {{{0.7, 1, 2}, {0.9, 2, 1}, {1, 2, 3}, {1.1, 3, 2}, {1.5, 4, 2}}},
       corruptions::glass_blur},

      {listed("motion_blur"),
       "blur",
       "blur along a line at -45 to 45 degrees",
       {{{6, 1}, {6, 1.5}, {6, 2}, {8, 2}, {9, 2.5}}},
       {{{10, 1}, {10, 1.5}, {10, 2}, {10, 2.5}, {12, 3}}},
       {{{10, 3}, {15, 5}, {15, 8}, {15, 12}, {20, 15}}},
       corruptions::motion_blur},

      {listed("zoom_blur"),
       "blur",
       "mean of progressively enlarged images",
       {{{7, 0.01}, {12, 0.01}, {16, 0.01}, {21, 0.01}, {26, 0.01}}},
       {{{7, 0.01}, {12, 0.01}, {16, 0.01}, {21, 0.01}, {26, 0.01}}},
       {{{12, 0.01}, {16, 0.01}, {11, 0.02}, {13, 0.02}, {11, 0.03}}},
       corruptions::zoom_blur},
  };
}

std::vector<CorruptionSpec> weather() {
  // The last number of a row of frost is the scale at which the reference shows its photographs:
  // it shrinks them by 0.2 and 0.3 for small images.
  return {
      {listed("snow"),
       "weather",
       "wind-blown flakes on a whitened image",
       {{{0.1, 0.2, 1, 0.6, 8, 3, 0.95},
         {0.1, 0.2, 1, 0.5, 10, 4, 0.9},
         {0.15, 0.3, 1.75, 0.55, 10, 4, 0.9},
         {0.25, 0.3, 2.25, 0.6, 12, 6, 0.85},
         {0.3, 0.3, 1.25, 0.65, 14, 12, 0.8}}},
       {{{0.1, 0.2, 1, 0.6, 8, 3, 0.8},
         {0.1, 0.2, 1, 0.5, 10, 4, 0.8},
         {0.15, 0.3, 1.75, 0.55, 10, 4, 0.7},
         {0.25, 0.3, 2.25, 0.6, 12, 6, 0.65},
         {0.3, 0.3, 1.25, 0.65, 14, 12, 0.6}}},
       {{{0.1, 0.3, 3, 0.5, 10, 4, 0.8},
         {0.2, 0.3, 2, 0.5, 12, 4, 0.7},
         {0.55, 0.3, 4, 0.9, 12, 8, 0.7},
         {0.55, 0.3, 4.5, 0.85, 12, 8, 0.65},
         {0.55, 0.3, 2.5, 0.85, 12, 12, 0.55}}},
       corruptions::snow},

      {listed("frost"),
       "weather",
       "ice crystals on a pane",
       {{{1, 0.2, 5}, {1, 0.3, 5}, {0.9, 0.4, 5}, {0.85, 0.4, 5}, {0.75, 0.45, 5}}},
       {{{1, 0.3, 10 / 3.0},
         {0.9, 0.4, 10 / 3.0},
         {0.8, 0.45, 10 / 3.0},
         {0.75, 0.5, 10 / 3.0},
         {0.7, 0.55, 10 / 3.0}}},
       {{{1, 0.4, 1}, {0.8, 0.6, 1}, {0.7, 0.7, 1}, {0.65, 0.7, 1}, {0.6, 0.75, 1}}},
       corruptions::frost},

      {listed("fog"),
       "weather",
       "fractal haze",
       {{{0.2, 3}, {0.5, 3}, {0.75, 2.5}, {1, 2}, {1.5, 1.75}}},
       {{{0.4, 3}, {0.7, 3}, {1, 2.5}, {1.5, 2}, {2, 1.75}}},
       {{{1.5, 2}, {2, 2}, {2.5, 1.7}, {2.5, 1.5}, {3, 1.4}}},
       corruptions::fog},
  };
}

std::vector<CorruptionSpec> digital() {
  // Multiples of 244 as in the reference, whose comment says that 224 was intended.
  constexpr double k = 244;
  return {
      {listed("brightness"),
       "digital",
       "increased brightness",
       {{{0.05}, {0.1}, {0.15}, {0.2}, {0.3}}},
       {{{0.1}, {0.2}, {0.3}, {0.4}, {0.5}}},
       {{{0.1}, {0.2}, {0.3}, {0.4}, {0.5}}},
       corruptions::brightness},

      {listed("contrast"),
       "digital",
       "values moved towards their mean",
       {{{0.75}, {0.5}, {0.4}, {0.3}, {0.15}}},
       {{{0.4}, {0.3}, {0.2}, {0.1}, {0.05}}},
       {{{0.4}, {0.3}, {0.2}, {0.1}, {0.05}}},
       corruptions::contrast},

      {listed("elastic_transform"),
       "digital",
       "random affine map and local displacements",
       {{{0, 0, 32 * 0.08},
         {32 * 0.05, 32 * 0.2, 32 * 0.07},
         {32 * 0.08, 32 * 0.06, 32 * 0.06},
         {32 * 0.1, 32 * 0.04, 32 * 0.05},
         {32 * 0.1, 32 * 0.03, 32 * 0.03}}},
       {{{0, 0, 64 * 0.08},
         {64 * 0.05, 64 * 0.3, 64 * 0.06},
         {64 * 0.1, 64 * 0.08, 64 * 0.06},
         {64 * 0.1, 64 * 0.03, 64 * 0.03},
         {64 * 0.16, 64 * 0.03, 64 * 0.02}}},
       {{{k * 2, k * 0.7, k * 0.1},
         {k * 2, k * 0.08, k * 0.2},
         {k * 0.05, k * 0.01, k * 0.02},
         {k * 0.07, k * 0.01, k * 0.02},
         {k * 0.12, k * 0.01, k * 0.02}}},
       corruptions::elastic_transform},

      {listed("pixelate"),
       "digital",
       "downsampled and upsampled again",
       {{{0.95}, {0.9}, {0.85}, {0.75}, {0.65}}},
       {{{0.9}, {0.8}, {0.7}, {0.6}, {0.5}}},
       {{{0.6}, {0.5}, {0.4}, {0.3}, {0.25}}},
       corruptions::pixelate},

      {listed("jpeg_compression"),
       "digital",
       "JPEG compression",
       {{{80}, {65}, {58}, {50}, {40}}},
       {{{65}, {58}, {50}, {40}, {25}}},
       {{{25}, {18}, {15}, {10}, {7}}},
       corruptions::jpeg_compression},
  };
}

}  // namespace

const std::vector<CorruptionSpec>& corruption_table() {
  static const auto table = [] {
    std::vector<CorruptionSpec> all;
    for (const auto& part : {noise(), blur(), weather(), digital()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}

const CorruptionSpec& find_corruption(const std::string& name) {
  for (const auto& spec : corruption_table())
    if (spec.name == name) return spec;
  const std::vector<std::string> names(kCorruptionNames.begin(), kCorruptionNames.end());
  const auto near = nearest(name, names);
  DISSENT_FAIL(kUsage, "corruption: expected one of {2}, found '{0}'{1}", name,
               near ? fmt::format("; did you mean '{}'?", *near) : "", fmt::join(names, ", "));
}

const std::vector<double>& corruption_row(const CorruptionSpec& spec, int64_t severity,
                                          int64_t height, int64_t width) {
  DISSENT_CHECK(severity >= 1 && severity <= kSeverities, kUsage,
                "corrupt: severity: expected 1 .. {}, found {}", kSeverities, severity);

  // The benchmarks publish three tables of strengths, made for images of 32, 64 and 224 pixels.
  const int64_t edge = std::min(height, width);
  const auto& rows = edge <= kMostCifarEdge  ? spec.cifar
                     : edge <= kMostTinyEdge ? spec.tiny_imagenet
                                             : spec.imagenet;
  return rows[static_cast<size_t>(severity - 1)];
}

at::Tensor corrupt(const at::Tensor& image, const std::string& name, int64_t severity,
                   Random& random) {
  const bool fits = image.defined() && image.dim() == 3 && image.size(2) == 3 &&
                    image.scalar_type() == at::kByte && image.device().is_cpu() &&
                    image.is_contiguous() && std::min(image.size(0), image.size(1)) >= kLeastEdge;
  DISSENT_CHECK(fits, kUsage,
                "corrupt: image: expected [H, W, 3] Byte cpu, contiguous, H and W >= {}, found {}",
                kLeastEdge, describe(image));

  const auto& spec = find_corruption(name);
  return spec.apply(image, corruption_row(spec, severity, image.size(0), image.size(1)), random);
}

TableSpec corruption_options_table(const std::string& name) {
  using T = CorruptionOptions;
  std::vector<std::string> names(kCorruptionNames.begin(), kCorruptionNames.end());
  names.insert(names.begin(), kNoCorruption);
  return TableOf<T>(name,
                    "A corruption of ImageNet-C, applied to the crop of clean images before "
                    "normalisation")
      .option("name", &T::name, {.meaning = "the corruption; none: clean images", .choices = names})
      .option("severity", &T::severity,
              {.meaning = "severity, 1 (C-1) to 5 (C-5)",
               .min = 1,
               .max = static_cast<double>(kSeverities)});
}

}  // namespace dissent
