#include "data/transforms/corruption.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include <jpeglib.h>

#include "data/transforms/corruption_names.hpp"
#include "data/transforms/distributions.hpp"
#include "data/transforms/picture.hpp"
#include "data/transforms/resize.hpp"
#include "data/transforms/transform.hpp"
#include "expect_error.hpp"

using namespace dissent;
using dissent::testing::expect_error;

namespace {

constexpr const char* kPhotographs[] = {"astronaut", "chelsea"};

at::Tensor photograph(const std::string& name, int64_t edge = 224) {
  const auto path =
      std::string(std::getenv("DISSENT_SOURCE_DIR")) + "/tests/data/photographs/" + name + ".jpg";
  std::FILE* file = std::fopen(path.c_str(), "rb");
  DISSENT_CHECK(file, kData, "{}: cannot open", path);
  jpeg_decompress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&codec);
  jpeg_stdio_src(&codec, file);
  jpeg_read_header(&codec, TRUE);
  jpeg_start_decompress(&codec);
  auto image = at::empty({codec.output_height, codec.output_width, 3}, at::kByte);
  while (codec.output_scanline < codec.output_height) {
    auto* line = image.data_ptr<uint8_t>() + codec.output_scanline * image.size(1) * 3;
    jpeg_read_scanlines(&codec, &line, 1);
  }
  jpeg_destroy_decompress(&codec);
  std::fclose(file);
  return resize(image, edge, edge, Interpolation::kBilinear);
}

at::Tensor corrupted(const at::Tensor& image, const std::string& name, int64_t severity,
                     uint64_t key = 0) {
  Random random(11, Purpose::kCrop, 0, key);
  return corrupt(image, name, severity, random);
}

double squared_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).square().mean().item<double>();
}

at::Tensor constant(int64_t level, int64_t edge = 224) {
  return at::full({edge, edge, 3}, level, at::kByte);
}

}  // namespace

TEST(Corruption, TheTableHasEachListedNameInOrder) {
  std::vector<std::string> names;
  for (const auto& spec : corruption_table()) names.push_back(spec.name);
  EXPECT_TRUE(std::ranges::equal(names, kCorruptionNames));
}

TEST(Corruption, ThereAreFifteenInFourGroups) {
  std::map<std::string, int> groups;
  for (const auto& spec : corruption_table()) ++groups[spec.group];
  EXPECT_EQ(groups, (std::map<std::string, int>{
                        {"noise", 3}, {"blur", 4}, {"weather", 3}, {"digital", 5}}));
}

// From one severity to the next. What is not so in the published parameters is listed here: glass
// blur blurs less but goes on longer at some, snow has other flakes, frost darkens the image as it
// grows, motion blur at 32 only gets a longer tail of weight 0, elastic changes from large maps to
// local ones.
TEST(Corruption, SeveritiesMoveAwayFromTheImage) {
  const std::set<std::string> not_ordered{
      "glass_blur 224", "glass_blur 64", "glass_blur 32", "snow 224", "snow 64",
      "snow 32",        "frost 224",     "frost 64",      "frost 32", "motion_blur 32"};
  for (const int64_t edge : {224, 64, 32})
    for (const auto& spec : corruption_table()) {
      if (spec.name == "elastic_transform") continue;
      std::array<double, 5> distance{};
      for (const auto* name : kPhotographs)
        for (int severity = 1; severity <= 5; ++severity)
          for (int draw = 0; draw < (edge == 224 ? 2 : 6); ++draw) {
            const auto image = photograph(name, edge);
            distance[static_cast<size_t>(severity - 1)] +=
                squared_difference(corrupted(image, spec.name, severity, draw), image);
          }
      EXPECT_GT(distance[0], 1) << spec.name;
      EXPECT_GT(distance[4], distance[0]) << spec.name << " at " << edge;
      if (not_ordered.contains(spec.name + " " + std::to_string(edge))) continue;
      for (size_t s = 1; s < 5; ++s)
        EXPECT_GT(distance[s], distance[s - 1])
            << spec.name << " severity " << s + 1 << " at " << edge;
    }
}

TEST(Corruption, FollowsItsDrawsAlone) {
  const auto image = photograph("chelsea", 64);
  const std::set<std::string> without_draws{"defocus_blur", "zoom_blur", "brightness",
                                            "contrast",     "pixelate",  "jpeg_compression"};
  for (const auto& spec : corruption_table()) {
    EXPECT_TRUE(at::equal(corrupted(image, spec.name, 3, 5), corrupted(image, spec.name, 3, 5)))
        << spec.name;
    EXPECT_EQ(at::equal(corrupted(image, spec.name, 3, 5), corrupted(image, spec.name, 3, 6)),
              without_draws.contains(spec.name))
        << spec.name;
  }
}

TEST(Corruption, TakesAnySizeFromEightPixelsOn) {
  for (const auto& spec : corruption_table())
    for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{
             {8, 8}, {8, 13}, {28, 28}, {50, 33}, {131, 140}}) {
      const auto image =
          photograph("astronaut").narrow(0, 0, height).narrow(1, 0, width).contiguous();
      EXPECT_EQ(corrupted(image, spec.name, 5).sizes(), image.sizes()) << spec.name;
    }
  expect_error(ErrorKind::kUsage, "H and W >= 8", [] { corrupted(constant(3, 7), "fog", 1); });
  expect_error(ErrorKind::kUsage, "severity: expected 1 .. 5, found 6",
               [] { corrupted(constant(3), "fog", 6); });
  expect_error(ErrorKind::kUsage, "did you mean 'glass_blur'",
               [] { corrupted(constant(3), "glas_blur", 1); });
}

TEST(Corruption, NoiseHasItsMoments) {
  const auto grey = constant(128);
  const double count = static_cast<double>(grey.numel());
  const auto moments = [&](const at::Tensor& image) {
    const auto values = image.to(at::kDouble);
    return std::pair{values.mean().item<double>(), values.std(false).item<double>()};
  };
  // Cut off to whole levels: half a level down, 1/12 more variance. Severity 1, where none of 128
  // +- 20.4 reaches black or white.
  const auto [mean, deviation] = moments(corrupted(grey, "gaussian_noise", 1));
  EXPECT_NEAR(mean, 127.5, 6 * 20.4 / std::sqrt(count));
  EXPECT_NEAR(deviation, std::sqrt(20.4 * 20.4 + 1 / 12.0), 6 * 20.4 / std::sqrt(2 * count));
  const double photons = 60 * 128 / 255.0, level = 255 / 60.0;
  const auto [shot_mean, shot_deviation] = moments(corrupted(grey, "shot_noise", 1));
  EXPECT_NEAR(shot_mean, 128,
              0.5 + 6 * std::sqrt(photons) * level /
                        std::sqrt(count));  // cut off: up to a level, by the count
  EXPECT_NEAR(shot_deviation, std::sqrt(photons) * level, 0.01 * std::sqrt(photons) * level);
  const auto impulses = corrupted(grey, "impulse_noise", 5);
  for (const int extreme : {0, 255})
    EXPECT_NEAR((impulses == extreme).sum().item<double>(), count * 0.27 / 2,
                6 * std::sqrt(count * 0.27 / 2))
        << extreme;
  EXPECT_EQ((impulses == 128).sum().item<int64_t>() + (impulses == 0).sum().item<int64_t>() +
                (impulses == 255).sum().item<int64_t>(),
            impulses.numel());
}

TEST(Corruption, PoissonAndGammaDraws) {
  Random random(2, Purpose::kNoise);
  constexpr int kDraws = 40000;
  for (const double wanted : {0.0, 0.3, 3.0, 9.9, 10.1, 60.0, 500.0}) {
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double k = draw_poisson(random, wanted);
      sum += k;
      squares += (k - wanted) * (k - wanted);
    }
    EXPECT_NEAR(sum / kDraws, wanted, 6 * std::sqrt(wanted / kDraws)) << wanted;
    EXPECT_NEAR(squares / kDraws, wanted, 6 * std::sqrt((2 * wanted * wanted + wanted) / kDraws))
        << wanted;
  }
  for (const double shape : {0.4, 1.0, 5.0}) {
    double sum = 0;
    for (int i = 0; i < kDraws; ++i) sum += draw_gamma(random, shape);
    EXPECT_NEAR(sum / kDraws, shape, 6 * std::sqrt(shape / kDraws)) << shape;
  }
}

TEST(Corruption, BrightnessAndContrastInClosedForm) {
  const auto image = photograph("astronaut");
  const auto values = image.to(at::kDouble);
  // The largest channel grows by 255 c up to white and keeps hue and saturation: all three by one
  // factor; black turns grey.
  const auto most = values.amax({2}, true), grown = (most + 0.2 * 255).clamp_max(255);
  const auto brighter = at::where(most > 0, values * grown / most, grown);
  const auto difference = brighter - corrupted(image, "brightness", 2).to(at::kDouble);
  EXPECT_GT(difference.min().item<double>(), -1e-9);
  EXPECT_LT(difference.max().item<double>(), 1 + 1e-9);  // cut off
  const auto means = values.mean(at::IntArrayRef{0, 1}, true);
  const auto flat =
      (values - means) * 0.2 + means - corrupted(image, "contrast", 3).to(at::kDouble);
  EXPECT_GT(flat.min().item<double>(), -1e-9);
  EXPECT_LT(flat.max().item<double>(), 1 + 1e-9);
}

TEST(Corruption, PixelateHasBlocksOfMeans) {
  // A quarter of 224: blocks of 4 x 4, each the mean of its pixels, in passes that round each.
  const auto image = photograph("chelsea");
  const auto result = corrupted(image, "pixelate", 5).to(at::kDouble);
  const auto blocks = image.to(at::kDouble).view({56, 4, 56, 4, 3}).mean(at::IntArrayRef{1, 3});
  EXPECT_LE(
      (result.view({56, 4, 56, 4, 3}) - blocks.view({56, 1, 56, 1, 3})).abs().max().item<double>(),
      1.0);
}

TEST(Corruption, BlursKeepConstantsAndPreserveTheMean) {
  for (const auto* name : {"defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
                           "elastic_transform", "pixelate", "contrast"})
    // Within one level (glass_blur two): sums of weights are 1 but for rounding, and values are cut
    // off once (twice).
    EXPECT_LE((corrupted(constant(100), name, 5).to(at::kDouble) - 100).abs().max().item<double>(),
              name == std::string("glass_blur") ? 2 : 1)
        << name;
  // A white line across the middle, under blur along an angle of 0: the half Gaussian of 2 r + 1
  // taps towards it.
  Picture line(1, 31, 1);
  line.at(0, 20, 0) = 1;
  const auto blurred = motion_blurred(line, 4, 2, 0);
  double sum = 0;
  for (int i = 0; i < 9; ++i) sum += std::exp(-i * i / 8.0);
  for (int i = 0; i < 9; ++i)
    EXPECT_NEAR(blurred.at(0, 20 - i, 0), std::exp(-i * i / 8.0) / sum, 0.5 / 255 + 1e-12) << i;
  EXPECT_EQ(blurred.at(0, 21, 0), 0);
  EXPECT_EQ(blurred.at(0, 11, 0), 0);
}

TEST(Corruption, BordersTurnWhereTheReferencesDo) {
  const auto at = [](int64_t position, Border border) { return inside(position, 4, border); };
  EXPECT_EQ(at(-1, Border::kEdge), 0);
  EXPECT_EQ((std::vector{at(-1, Border::kMirror), at(-2, Border::kMirror), at(4, Border::kMirror),
                         at(9, Border::kMirror)}),
            (std::vector<int64_t>{0, 1, 3, 1}));
  EXPECT_EQ((std::vector{at(-1, Border::kMirrorMiddle), at(-3, Border::kMirrorMiddle),
                         at(4, Border::kMirrorMiddle), at(7, Border::kMirrorMiddle)}),
            (std::vector<int64_t>{1, 3, 2, 1}));
}

TEST(Corruption, IsPartOfATransform) {
  auto options = find_transform("cifar10_test").options;
  const auto images = at::stack({photograph("astronaut", 32), photograph("chelsea", 32)}),
             rows = at::arange(2, at::kLong);
  const auto clean = transform_rows(options, images, rows, 1, 0);
  options.corruption = {.name = "impulse_noise", .severity = 5};
  const auto made = transform_rows(options, images, rows, 1, 0);
  EXPECT_FALSE(at::equal(made, clean));
  EXPECT_TRUE(at::equal(made.narrow(0, 1, 1),
                        transform_rows(options, images, at::ones({1}, at::kLong), 1, 0)))
      << "depends on the batch";
  const auto direct = [&] {
    Random random(1, Purpose::kCrop, 0, 1);
    return corrupt(images[1], "impulse_noise", 5, random);
  }();
  auto plain = find_transform("cifar10_test").options;
  EXPECT_TRUE(at::equal(made[1], transform_image(plain, direct, {})))
      << "not on the crop before normalising";
}
