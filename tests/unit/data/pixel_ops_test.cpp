#include "data/transforms/pixel_ops.hpp"

#include <zlib.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <tuple>

#include "core/random.hpp"
#include "data/transforms/augment.hpp"
#include "data/transforms/transform.hpp"
#include "expect_error.hpp"

using namespace dissent;
using dissent::testing::expect_error;

namespace {

// image() of scripts/make_pixel_op_cases.
at::Tensor picture(int64_t kind, int64_t height, int64_t width) {
  auto image = at::empty({height, width, 3}, at::kByte);
  auto* out = image.data_ptr<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t root = x + 57 * y + 131 * c + 7;
        const int64_t values[] = {3 * x + 5 * y + 40 * c + x * y / 7,
                                  root * root * 2654435761 >> 16,
                                  90 + (x * x + 3 * y + c) % 5 * (7 + c), 17 + 60 * c};
        *out++ = static_cast<uint8_t>(values[kind] % 256);
      }
  return image;
}

uint32_t checksum(const at::Tensor& image) {
  const auto values = image.contiguous();
  return static_cast<uint32_t>(
      crc32(0, values.const_data_ptr<uint8_t>(), static_cast<uInt>(values.numel())));
}

std::string name_of(PixelOp op) {
  for (const auto& [name, known] : pixel_op_names())
    if (known == op) return name;
  return "none";
}

}  // namespace

// Every case of torchvision and Pillow, to the last level.
TEST(PixelOps, EqualThoseOfTorchvisionOnPilImages) {
  std::map<std::string, PixelOp> ops;
  for (const auto& [name, op] : pixel_op_names()) ops[name] = op;
  const char* root = std::getenv("DISSENT_SOURCE_DIR");
  ASSERT_TRUE(root) << "DISSENT_SOURCE_DIR is not set";
  std::ifstream file(std::string(root) + "/tests/data/pixel_ops.csv");
  ASSERT_TRUE(file);
  std::string line;
  std::getline(file, line);
  std::map<std::string, int> cases;
  while (std::getline(file, line)) {
    std::stringstream text(line);
    std::vector<std::string> cells;
    for (std::string cell; std::getline(text, cell, ',');) cells.push_back(cell);
    ASSERT_EQ(cells.size(), 7U) << line;
    const auto image = picture(std::stoll(cells[3]), std::stoll(cells[4]), std::stoll(cells[5]));
    const auto result =
        apply_pixel_op(image, ops.at(cells[0]), std::stod(cells[1]), interpolation(cells[2]));
    EXPECT_EQ(checksum(result), static_cast<uint32_t>(std::stoul(cells[6]))) << line;
    ++cases[cells[0]];
  }
  EXPECT_EQ(cases.size(), pixel_op_names().size()) << "operations without a case";
}

TEST(PixelOps, ClosedForms) {
  const auto image = picture(1, 6, 8);
  EXPECT_TRUE(at::equal(apply_pixel_op(image, PixelOp::kSolarize, 0), 255 - image));
  EXPECT_TRUE(
      at::equal(apply_pixel_op(image, PixelOp::kPosterize, 3), at::bitwise_and(image, 0xe0)));
  auto shifted = at::zeros_like(image);
  shifted.narrow(1, 3, 5).copy_(image.narrow(1, 0, 5));
  for (const auto mode : {Interpolation::kNearest, Interpolation::kBilinear})
    EXPECT_TRUE(at::equal(apply_pixel_op(image, PixelOp::kTranslateX, 3.9, mode), shifted));
  EXPECT_EQ(apply_pixel_op(image, PixelOp::kBrightness, -1).max().item<int>(), 0);
  expect_error(ErrorKind::kUsage, "expected [H, W, 3]",
               [&] { apply_pixel_op(image.narrow(2, 0, 1), PixelOp::kIdentity, 0); });
  expect_error(ErrorKind::kUsage, "expected nearest or bilinear",
               [&] { apply_pixel_op(image, PixelOp::kRotate, 3, Interpolation::kBicubic); });
}

// Strength 9 of 31 bins: torchvision's magnitudes at 9/30 of each range.
TEST(RandAugment, DrawsEveryOperationAsOftenWithEitherSign) {
  constexpr int kDraws = 14000;
  std::map<std::string, int> count, negative;
  std::map<std::string, double> magnitude;
  Random random(3, Purpose::kCrop, 1, 2);
  for (int i = 0; i < kDraws / 2; ++i)
    for (const auto& step : draw_rand_augment({}, 100, 200, random)) {
      const auto name = name_of(step.op);
      ++count[name];
      negative[name] += step.magnitude < 0;
      magnitude[name] = std::abs(step.magnitude);
    }
  ASSERT_EQ(count.size(), 14U);
  for (const auto& [name, times] : count)
    EXPECT_NEAR(times, kDraws / 14, 6 * std::sqrt(kDraws / 14.0)) << name;
  for (const auto* name : {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness",
                           "Color", "Contrast", "Sharpness"})
    EXPECT_NEAR(negative[name], kDraws / 28, 6 * std::sqrt(kDraws / 56.0)) << name;
  const std::map<std::string, double> wanted{{"ShearX", 0.09},
                                             {"TranslateX", 200 * 150 / 331.0 * 0.3},
                                             {"TranslateY", 100 * 150 / 331.0 * 0.3},
                                             {"Rotate", 9},
                                             {"Color", 0.27},
                                             {"Posterize", 7},
                                             {"Solarize", 178.5},
                                             {"Equalize", 0}};
  for (const auto& [name, value] : wanted)
    EXPECT_NEAR(magnitude[name], value, 1e-5 * value) << name;  // f32, as torchvision's
  expect_error(ErrorKind::kUsage, "expected 0 .. bins - 1, found 31 of 31",
               [&] { draw_rand_augment({.magnitude = 31}, 8, 8, random); });
}

TEST(AugMix, MixesChainsWithWeightsThatAddUpToOne) {
  Random random(4, Purpose::kCrop, 1, 2);
  double original = 0;
  std::map<size_t, int> depths;
  std::map<std::string, double> largest;
  constexpr int kDraws = 3000;
  for (int i = 0; i < kDraws; ++i) {
    const auto draws = draw_aug_mix({}, 90, 90, random);
    ASSERT_EQ(draws.chains.size(), 3U);
    float sum = draws.original;
    for (const auto& chain : draws.chains) {
      sum += chain.weight;
      ++depths[chain.steps.size()];
      for (const auto& step : chain.steps)
        largest[name_of(step.op)] = std::max(largest[name_of(step.op)], std::abs(step.magnitude));
    }
    EXPECT_NEAR(sum, 1, 4 * std::numeric_limits<float>::epsilon());
    original += draws.original / kDraws;
  }
  EXPECT_NEAR(original, 0.5, 6 * std::sqrt(1 / 12.0 / kDraws));  // Dirichlet(1, 1): uniform
  ASSERT_EQ(depths.size(), 3U);
  for (const auto& [depth, times] : depths)
    EXPECT_NEAR(times, kDraws, 6 * std::sqrt(kDraws)) << depth;
  EXPECT_EQ(largest.size(), 13U) << "torchvision's AugMix has no Identity";
  EXPECT_NEAR(largest["TranslateX"], 90 / 3 * 2 / 9.0,
              1e-5);  // third of ten bins: 2/9 of the range
  EXPECT_NEAR(largest["Rotate"], 30 * 2 / 9.0, 1e-5);
  EXPECT_EQ(largest["Posterize"], 4);
  for (const auto& chain :
       draw_aug_mix({.severity = 1, .chain_depth = 2, .all_ops = false}, 9, 9, random).chains)
    EXPECT_EQ(chain.steps.size(), 2U);
}

TEST(AugMix, IsTheMixtureOfItsChains) {
  const auto image = picture(0, 20, 24);
  Random random(5, Purpose::kCrop), again = random;
  const AugMixOptions options{.severity = 10};
  const auto mixed = aug_mix(options, image, random);
  const auto draws = draw_aug_mix(options, 20, 24, again);
  auto expected = image.to(at::kDouble) * draws.original;
  for (const auto& chain : draws.chains) {
    auto made = image;
    for (const auto& step : chain.steps)
      made = apply_pixel_op(made, step.op, step.magnitude, options.interpolation);
    expected += made.to(at::kDouble) * chain.weight;
  }
  // Cut off to whole levels after f32 sums: within one level below, a few epsilons of 255 above.
  const auto distance = expected - mixed.to(at::kDouble);
  EXPECT_GT(distance.min().item<double>(), -1e-3);
  EXPECT_LT(distance.max().item<double>(), 1 + 1e-3);
  EXPECT_FALSE(at::equal(mixed, image));
}

TEST(Augmentation, FollowsTheGeometryAndItsKey) {
  const auto plain = find_transform("cifar10_train").options;
  auto options = plain;
  options.rand_augment = RandAugmentOptions{.num_ops = 2, .magnitude = 20};
  options.aug_mix = AugMixOptions{};
  const auto images = at::stack({picture(0, 32, 32), picture(1, 32, 32), picture(2, 32, 32)}),
             rows = at::arange(3, at::kLong);
  const auto all = transform_rows(options, images, rows, 3, 1);
  EXPECT_TRUE(
      at::equal(transform_rows(options, images, rows.flip(0).contiguous(), 3, 1), all.flip(0)))
      << "depends on the order";
  EXPECT_FALSE(at::equal(transform_rows(options, images, rows, 3, 2), all));
  // The same windows as without: what augments draws afterwards.
  const auto draws = draw_transform(options, 32, 32, Random(3, Purpose::kCrop, 1, 0)),
             bare = draw_transform(plain, 32, 32, Random(3, Purpose::kCrop, 1, 0));
  EXPECT_EQ(std::tie(draws.top, draws.left, draws.flip), std::tie(bare.top, bare.left, bare.flip));
  EXPECT_TRUE(at::equal(all[0], transform_image(options, images[0], draws)));
  // No operation of strength 0 and no chain but the image itself leave the pixels.
  options.aug_mix.reset();
  options.rand_augment->num_ops = 0;
  EXPECT_TRUE(at::equal(transform_rows(options, images, rows, 3, 1),
                        transform_rows(plain, images, rows, 3, 1)));
  options.rand_augment = RandAugmentOptions{.first = true};
  EXPECT_EQ(transform_rows(options, images.select(3, 0).contiguous(), rows, 3, 1).sizes(),
            (at::IntArrayRef{3, 3, 32, 32}));
  expect_error(ErrorKind::kUsage, "expected a random stream",
               [&] { transform_image(options, images[0], {.top = 1, .left = 1}); });
}
