#include "data/transforms/pixel_ops.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numbers>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

constexpr int64_t kChannels = 3;
using Matrix = std::array<double, 6>;  // input x = m0 x + m1 y + m2, input y = m3 x + m4 y + m5
using LevelsOfLevels = std::array<std::array<uint8_t, 256>, kChannels>;
using Counts = std::array<int64_t, 256>;

double radians(double degrees) { return degrees * (std::numbers::pi / 180); }
double degrees(double radians) { return radians * (180 / std::numbers::pi); }

// torchvision's _get_inverse_affine_matrix at scale 1, angle 0 and centre (0, 0), shears in
// degrees.
Matrix shear_matrix(double shear_x, double shear_y) {
  const double x = radians(shear_x), y = radians(shear_y);
  const double a = std::cos(-y) / std::cos(y),
               b = -std::cos(-y) * std::tan(x) / std::cos(y) - std::sin(0.0);
  const double c = std::sin(-y) / std::cos(y),
               d = -std::sin(-y) * std::tan(x) / std::cos(y) + std::cos(0.0);
  return {d, -b, 0, -c, a, 0};
}

// Rounds to 15 decimals, as torchvision does with Python's round.
double rounded(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.15f", value);
  return std::strtod(text.data(), nullptr);
}

Matrix rotation_matrix(double angle, int64_t height, int64_t width) {
  // The steps of PIL's Image.rotate, in its order: the rounding decides which pixels are taken.
  double turn = std::fmod(angle, 360.0);
  if (turn < 0) turn += 360.0;
  turn = -radians(turn);
  const double cosine = rounded(std::cos(turn)), sine = rounded(std::sin(turn)),
               minus = rounded(-std::sin(turn));

  // About the centre of the image: the matrix moves it to the origin, turns, and moves it back.
  const double x = static_cast<double>(width) / 2, y = static_cast<double>(height) / 2;
  return {cosine, sine,   cosine * -x + sine * -y + 0.0 + x,
          minus,  cosine, minus * -x + cosine * -y + 0.0 + y};
}

// Pillow's arithmetic: 16.16 fixed point, positions by adding up steps.
at::Tensor moved_nearest(const at::Tensor& image, const Matrix& m) {
  const auto fixed = [](double value) {
    return static_cast<int64_t>(std::floor(value * 65536.0 + 0.5));
  };
  const int64_t height = image.size(0), width = image.size(1);
  auto result = at::zeros_like(image);
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();

  // The input position of the centre of pixel (0, 0).
  int64_t row_x = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5),
          row_y = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);

  for (int64_t y = 0; y < height; ++y, row_x += fixed(m[1]), row_y += fixed(m[4])) {
    int64_t xx = row_x, yy = row_y;
    for (int64_t x = 0; x < width; ++x, out += kChannels, xx += fixed(m[0]), yy += fixed(m[3])) {
      const int64_t in_x = xx >> 16, in_y = yy >> 16;
      if (in_x < 0 || in_x >= width || in_y < 0 || in_y >= height) continue;
      std::copy_n(in + (in_y * width + in_x) * kChannels, kChannels, out);
    }
  }
  return result;
}

// Pillow's arithmetic: interpolated values are truncated, not rounded.
at::Tensor moved_bilinear(const at::Tensor& image, const Matrix& m) {
  const int64_t height = image.size(0), width = image.size(1);
  auto result = at::zeros_like(image);
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x, out += kChannels) {
      // The input position of the pixel's centre. Outside of the image the result stays black.
      const double center_x = static_cast<double>(x) + 0.5, center_y = static_cast<double>(y) + 0.5;
      const double in_x = m[0] * center_x + m[1] * center_y + m[2],
                   in_y = m[3] * center_x + m[4] * center_y + m[5];
      if (in_x < 0 || in_x >= static_cast<double>(width) || in_y < 0 ||
          in_y >= static_cast<double>(height))
        continue;

      // The four neighbours, clamped at the border, and the weights between them.
      const double left = std::floor(in_x - 0.5), top = std::floor(in_y - 0.5),
                   dx = in_x - 0.5 - left, dy = in_y - 0.5 - top;
      const auto column = [&](double value) {
        return std::clamp<int64_t>(static_cast<int64_t>(value), 0, width - 1);
      };
      const int64_t x0 = column(left), x1 = column(left + 1);
      const int64_t y0 = std::clamp<int64_t>(static_cast<int64_t>(top), 0, height - 1),
                    y1 =
                        static_cast<int64_t>(top) + 1 < height ? static_cast<int64_t>(top) + 1 : y0;

      for (int64_t c = 0; c < kChannels; ++c) {
        const auto pixel = [&](int64_t row, int64_t col) {
          return static_cast<double>(in[(row * width + col) * kChannels + c]);
        };
        const double upper = pixel(y0, x0) + (pixel(y0, x1) - pixel(y0, x0)) * dx,
                     lower = pixel(y1, x0) + (pixel(y1, x1) - pixel(y1, x0)) * dx;
        out[c] = static_cast<uint8_t>(upper + (lower - upper) * dy);
      }
    }
  return result;
}

at::Tensor moved(const at::Tensor& image, const Matrix& matrix, Interpolation interpolation) {
  const bool nearest = interpolation == Interpolation::kNearest;
  DISSENT_CHECK(nearest || interpolation == Interpolation::kBilinear, kUsage,
                "apply_pixel_op: interpolation: expected nearest or bilinear, found another");
  return nearest ? moved_nearest(image, matrix) : moved_bilinear(image, matrix);
}

uint8_t grey_of(const uint8_t* pixel) {
  // 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, as Pillow.
  return static_cast<uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >>
                              16);
}

at::Tensor grey(const at::Tensor& image) {
  auto result = at::empty_like(image);
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();
  for (int64_t i = 0; i < image.numel(); i += kChannels)
    std::fill_n(out + i, kChannels, grey_of(in + i));
  return result;
}

at::Tensor mean_grey(const at::Tensor& image) {
  // The grey image repeats each level three times, which does not change the mean.
  const auto levels = grey(image);
  const double mean = static_cast<double>(levels.sum(at::kLong).item<int64_t>()) /
                      static_cast<double>(levels.numel());
  return at::full_like(image, static_cast<int64_t>(mean + 0.5));
}

// 5/13 of the pixel, 1/13 of each of its eight neighbours; the outermost pixels stay.
at::Tensor smoothed(const at::Tensor& image) {
  const int64_t height = image.size(0), step = image.size(1) * kChannels;
  auto result = image.clone();
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();

  constexpr float kOuter = 1.0f / 13, kInner = 5.0f / 13;
  const auto line = [](const uint8_t* at, float middle) {
    return static_cast<float>(at[-kChannels]) * kOuter + static_cast<float>(at[0]) * middle +
           static_cast<float>(at[kChannels]) * kOuter;
  };

  // Row by row in Pillow's order of sums, because f32 rounds each of them.
  for (int64_t y = 1; y + 1 < height; ++y)
    for (int64_t i = y * step + kChannels; i < (y + 1) * step - kChannels; ++i) {
      float sum = 0.5f;
      sum += line(in + i + step, kOuter);
      sum += line(in + i, kInner);
      sum += line(in + i - step, kOuter);
      out[i] = static_cast<uint8_t>(std::clamp(sum, 0.0f, 255.0f));
    }
  return result;
}

// from + factor (to - from), truncated. In f32 as Pillow's Image.blend, and without arithmetic for
// factors 0 and 1.
at::Tensor blended(const at::Tensor& from, const at::Tensor& to, double factor) {
  const auto alpha = static_cast<float>(factor);
  if (alpha == 0) return from;
  if (alpha == 1) return to;
  auto result = at::empty_like(to);
  const auto *a = from.const_data_ptr<uint8_t>(), *b = to.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();

  for (int64_t i = 0; i < to.numel(); ++i) {
    const float value = static_cast<float>(a[i]) + alpha * static_cast<float>(b[i] - a[i]);
    out[i] = static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
  }
  return result;
}

at::Tensor looked_up(const at::Tensor& image, const LevelsOfLevels& table) {
  auto result = at::empty_like(image);
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();
  for (int64_t i = 0; i < image.numel(); ++i)
    out[i] = table[static_cast<size_t>(i % kChannels)][in[i]];
  return result;
}

template <class Level>
LevelsOfLevels table_of(Level level) {
  LevelsOfLevels table;
  for (auto& channel : table)
    for (int v = 0; v < 256; ++v) channel[static_cast<size_t>(v)] = static_cast<uint8_t>(level(v));
  return table;
}

std::array<Counts, kChannels> counts_of(const at::Tensor& image) {
  std::array<Counts, kChannels> counts{};
  const auto* in = image.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < image.numel(); ++i) ++counts[static_cast<size_t>(i % kChannels)][in[i]];
  return counts;
}

at::Tensor auto_contrast(const at::Tensor& image) {
  auto table = table_of([](int v) { return v; });
  const auto counts = counts_of(image);
  for (size_t c = 0; c < kChannels; ++c) {
    // The occupied range of levels is stretched to 0 .. 255.
    int low = 0, high = 255;
    while (low < 255 && counts[c][static_cast<size_t>(low)] == 0) ++low;
    while (high > 0 && counts[c][static_cast<size_t>(high)] == 0) --high;
    if (high <= low) continue;

    const double scale = 255.0 / (high - low), offset = -low * scale;
    for (int v = 0; v < 256; ++v)
      table[c][static_cast<size_t>(v)] =
          static_cast<uint8_t>(std::clamp(static_cast<int>(v * scale + offset), 0, 255));
  }
  return looked_up(image, table);
}

at::Tensor equalized(const at::Tensor& image) {
  auto table = table_of([](int v) { return v; });
  const auto counts = counts_of(image);
  const int64_t pixels = image.numel() / kChannels;
  for (size_t c = 0; c < kChannels; ++c) {
    // Pillow's ImageOps.equalize: the count of the last occupied level does not enter the step.
    int64_t last = 0;
    for (const int64_t count : counts[c])
      if (count > 0) last = count;
    const int64_t step = (pixels - last) / 255;
    if (step == 0) continue;

    // A level maps to the number of pixels below it, in units of `step`.
    int64_t below = step / 2;
    for (size_t v = 0; v < 256; below += counts[c][v++])
      table[c][v] = static_cast<uint8_t>(std::min<int64_t>(below / step, 255));
  }
  return looked_up(image, table);
}

}  // namespace

const std::vector<std::pair<std::string, PixelOp>>& pixel_op_names() {
  static const std::vector<std::pair<std::string, PixelOp>> names{
      {"Identity", PixelOp::kIdentity},
      {"ShearX", PixelOp::kShearX},
      {"ShearY", PixelOp::kShearY},
      {"TranslateX", PixelOp::kTranslateX},
      {"TranslateY", PixelOp::kTranslateY},
      {"Rotate", PixelOp::kRotate},
      {"Brightness", PixelOp::kBrightness},
      {"Color", PixelOp::kColor},
      {"Contrast", PixelOp::kContrast},
      {"Sharpness", PixelOp::kSharpness},
      {"Posterize", PixelOp::kPosterize},
      {"Solarize", PixelOp::kSolarize},
      {"AutoContrast", PixelOp::kAutoContrast},
      {"Equalize", PixelOp::kEqualize}};
  return names;
}

at::Tensor apply_pixel_op(const at::Tensor& image, PixelOp op, double magnitude,
                          Interpolation interpolation) {
  const bool fits = image.defined() && image.dim() == 3 && image.size(2) == kChannels &&
                    image.scalar_type() == at::kByte && image.device().is_cpu() &&
                    image.is_contiguous() && image.numel() > 0;
  DISSENT_CHECK(fits, kUsage,
                "apply_pixel_op: image: expected [H, W, 3] Byte cpu, contiguous, found {}",
                describe(image));

  // Magnitudes of shears are slopes, torchvision's affine takes angles.
  const double shear = degrees(std::atan(magnitude)), pixels = std::trunc(magnitude);
  switch (op) {
    case PixelOp::kIdentity: return image;
    case PixelOp::kShearX: return moved(image, shear_matrix(shear, 0), interpolation);
    case PixelOp::kShearY: return moved(image, shear_matrix(0, shear), interpolation);
    case PixelOp::kTranslateX: return moved(image, {1, 0, -pixels, 0, 1, 0}, interpolation);
    case PixelOp::kTranslateY: return moved(image, {1, 0, 0, 0, 1, -pixels}, interpolation);
    case PixelOp::kRotate:
      return moved(image, rotation_matrix(magnitude, image.size(0), image.size(1)), interpolation);
    // These four blend with a version without the property (black, grey, the mean grey, smoothed):
    // a factor below 1 moves towards it, one above 1 away from it.
    case PixelOp::kBrightness: return blended(at::zeros_like(image), image, 1 + magnitude);
    case PixelOp::kColor: return blended(grey(image), image, 1 + magnitude);
    case PixelOp::kContrast: return blended(mean_grey(image), image, 1 + magnitude);
    case PixelOp::kSharpness: return blended(smoothed(image), image, 1 + magnitude);
    case PixelOp::kPosterize: {
      // Keeps the `magnitude` highest bits.
      const int mask = ~((1 << (8 - static_cast<int>(magnitude))) - 1);
      return looked_up(image, table_of([&](int v) { return v & mask; }));
    }
    case PixelOp::kSolarize:
      return looked_up(image, table_of([&](int v) { return v < magnitude ? v : 255 - v; }));
    case PixelOp::kAutoContrast: return auto_contrast(image);
    case PixelOp::kEqualize: return equalized(image);
  }
  return image;
}

}  // namespace dissent
