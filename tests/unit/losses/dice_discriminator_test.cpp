#include <dissent/losses/dice_discriminator.hpp>

#include <cmath>
#include <optional>
#include <utility>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "unit/losses/peak_memory.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

const DiceOptions kSmall{.tau = 10, .units = {7, 6}, .label_dim = 3, .leaky_slope = 0.2};

at::Tensor discriminator_labels() { return at::tensor({0, 2, 1, 2, 0, 2}, at::kLong); }
std::vector<at::Tensor> discriminator(int64_t features = 5) {
  return make_dice_discriminator(3, features, 17, kSmall, at::kDouble);
}

// The plain form: concatenate and go through all layers, pair by pair.
at::Tensor plain(const std::vector<at::Tensor>& p, const at::Tensor& first,
                 const at::Tensor& second, const at::Tensor& y) {
  auto x = at::cat({first, second, p[0].index_select(0, y)}, 1);
  for (size_t i = 1; i < p.size(); i += 2) {
    x = at::mm(x, p[i].t()) + p[i + 1];
    if (i + 2 < p.size()) x = at::where(x > 0, x, 0.2 * x);
  }
  return x.squeeze(1);
}

}  // namespace

TEST(DiceDiscriminator, ShapesOfTheReference) {
  const auto shapes = dice_discriminator_shapes(10, 512);
  const std::vector<std::vector<int64_t>> expected = {
      {10, 64}, {256, 1088}, {256}, {256, 256}, {256}, {100, 256}, {100}, {1, 100}, {1}};
  EXPECT_EQ(shapes, expected);
  expect_error(ErrorKind::kUsage, "dice_discriminator: units: expected 1 or more, found 0",
               [] { dice_discriminator_shapes(2, 3, {.units = {0}}); });
}

TEST(DiceDiscriminator, StartsAsTorchWould) {
  const auto p = make_dice_discriminator(1000, 512, 1);
  EXPECT_EQ(p[0].scalar_type(), at::kFloat);
  EXPECT_NEAR(p[0].mean().item<double>(), 0, 0.02);  // 64,000 draws: four deviations of 0.004
  EXPECT_NEAR(p[0].std().item<double>(), 1, 0.012);
  EXPECT_GT(p[0].abs().max().item<double>(), 3.5);  // not cut off
  for (size_t i = 1; i < p.size(); i += 2) {
    const double bound = 1 / std::sqrt(static_cast<double>(p[i].size(1)));
    EXPECT_LE(p[i].abs().max().item<double>(), bound);
    EXPECT_LE(p[i + 1].abs().max().item<double>(), bound);
    EXPECT_GT(p[i].abs().max().item<double>(), 0.9 * bound);
  }
  EXPECT_TRUE(at::equal(p[3], make_dice_discriminator(1000, 512, 1)[3]));
  EXPECT_FALSE(at::equal(p[3], make_dice_discriminator(1000, 512, 2)[3]));
}

TEST(DicePairLogits, AreThoseOfThePlainForm) {
  const auto p = discriminator();
  const auto z = made_logits(4, 6, 5);
  const auto roll = roll_within_class(discriminator_labels());
  const auto joint = dice_pair_logits(p, z, discriminator_labels(), kSmall),
             product = dice_pair_logits(p, z, discriminator_labels(), kSmall, roll);
  int64_t pair = 0;
  for (const auto& [i, j] : member_pairs(4)) {
    EXPECT_LT(
        (joint[pair] - plain(p, z[i], z[j], discriminator_labels())).abs().max().item<double>(),
        1e-14);
    EXPECT_LT((product[pair++] - plain(p, z[i], z[j].index_select(0, roll), discriminator_labels()))
                  .abs()
                  .max()
                  .item<double>(),
              1e-14);
  }
  EXPECT_EQ(joint.size(0), pair);
}

TEST(DicePairLogits, GradientsAgreeWithFiniteDifferences) {
  const auto p = discriminator();
  const auto z = made_logits(3, 6, 5);
  EXPECT_LT(gradient_error(
                [&](const at::Tensor& x) {
                  return dice(dice_pair_logits(p, x, discriminator_labels(), kSmall), kSmall);
                },
                z),
            kGradientTolerance);
  for (size_t i = 0; i < p.size(); ++i) {
    const auto of_parameter = [&](const at::Tensor& x) {
      auto changed = p;
      changed[i] = x;
      return dice_discriminator_loss(changed, z, discriminator_labels(), kSmall).value;
    };
    EXPECT_LT(gradient_error(of_parameter, p[i]), kGradientTolerance) << i;
  }
}

TEST(DiceDiscriminatorLoss, HasTheHalf) {
  const auto zeros = at::zeros({3, 4}, at::kDouble), ones = at::ones({3, 4}, at::kDouble);
  EXPECT_NEAR(dice_discriminator_loss(zeros, zeros).value.item<double>(), std::log(2.0), 1e-15);
  const auto right = dice_discriminator_loss(ones, -ones),
             wrong = dice_discriminator_loss(-ones, ones),
             equal = dice_discriminator_loss(ones, ones);
  EXPECT_NEAR(right.value.item<double>(), std::log1p(std::exp(-1.0)), 1e-15);
  EXPECT_EQ(right.accuracy.sizes(), at::IntArrayRef({3}));
  EXPECT_EQ(right.accuracy.mean().item<double>(), 1);
  EXPECT_EQ(wrong.accuracy.mean().item<double>(), 0);
  EXPECT_EQ(equal.accuracy.mean().item<double>(), 0.5);
  EXPECT_NEAR(dice_discriminator_loss(-200 * ones, 200 * ones).value.item<double>(), 200, 1e-12);
}

TEST(DiceDiscriminatorLoss, ReachesNoMember) {
  auto p = discriminator();
  for (auto& tensor : p) tensor.set_requires_grad(true);
  const auto z = made_logits(3, 6, 5).set_requires_grad(true);
  const auto gradients =
      torch::autograd::grad({dice_discriminator_loss(p, z, discriminator_labels(), kSmall).value},
                            {z, p[1]}, {}, std::nullopt, false, true);
  EXPECT_FALSE(gradients[0].defined());
  EXPECT_TRUE(gradients[1].defined());
}

TEST(DiceDiscriminatorLoss, LearnsThatOneMemberCopiesTheOther) {
  // Equal features tell joint from product pairs; plain gradient descent has to find it.
  auto p = discriminator();
  const auto member = made_logits(1, 6, 5);
  const auto z = at::cat({member, member});
  const double before =
      dice_discriminator_loss(p, z, discriminator_labels(), kSmall).value.item<double>();
  for (int step = 0; step < 300; ++step) {
    for (auto& tensor : p) tensor.set_requires_grad(true);
    const auto gradients = torch::autograd::grad(
        {dice_discriminator_loss(p, z, discriminator_labels(), kSmall).value}, p);
    for (size_t i = 0; i < p.size(); ++i) p[i] = (p[i].detach() - 0.3 * gradients[i]);
  }
  const auto after = dice_discriminator_loss(p, z, discriminator_labels(), kSmall);
  // Row 2, alone in its class, is the same in both halves: it cannot be told, so a sixth of the
  // samples keeps log 2.
  EXPECT_LT(after.value.item<double>(), 0.6 * before);
  EXPECT_GT(dice(dice_pair_logits(p, z, discriminator_labels(), kSmall), kSmall).item<double>(), 1)
      << "and then members are told to differ";
}

TEST(DicePairLogits, RefusalsNameArgumentWantedAndGiven) {
  const auto p = discriminator();
  expect_error(ErrorKind::kUsage, "dice_pair_logits: features: expected [M >= 2",
               [&] { dice_pair_logits(p, made_logits(1, 6, 5), discriminator_labels(), kSmall); });
  expect_error(ErrorKind::kUsage,
               "parameters[1]: expected [7, 11] Double cpu, found [7, 13] Double cpu",
               [&] { dice_pair_logits(p, made_logits(2, 6, 4), discriminator_labels(), kSmall); });
  expect_error(
      ErrorKind::kUsage,
      "parameters: expected label_embedding [C, E], then W and b of each layer, found 2 tensors",
      [&] {
        dice_pair_logits({p[0], p[1]}, made_logits(2, 6, 5), discriminator_labels(), kSmall);
      });
  expect_error(ErrorKind::kUsage, "parameters[0]: expected [3, 3] Float cpu", [&] {
    dice_pair_logits(p, made_logits(2, 6, 5).to(at::kFloat), discriminator_labels(), kSmall);
  });
  expect_error(ErrorKind::kUsage, "labels: expected class numbers 0 .. 2, found 0 .. 3", [&] {
    dice_pair_logits(p, made_logits(2, 6, 5), at::tensor({0, 3, 1, 2, 0, 2}, at::kLong), kSmall);
  });
}

TEST(DicePairLogits, SinglePrecisionStaysNearDoubleWithinItsMemory) {
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const int64_t dim = 512, pairs = members * (members - 1) / 2;
    const auto y = at::arange(rows, at::kLong).remainder(8);
    const auto p = make_dice_discriminator(1000, dim, 1);
    auto exact = p;
    for (auto& tensor : exact) tensor = tensor.to(at::kDouble);
    const auto z = made_logits(members, rows, dim, 1).to(at::kFloat).set_requires_grad(true);
    PeakMemory memory;
    const auto value = dice(dice_pair_logits(p, z, y));
    const auto gradient = torch::autograd::grad({value}, {z})[0];
    EXPECT_LT(memory.peak(),
              pairs * rows * (3 * 256 + 2 * 256 + 2 * 100 + 16) * 4 + 4 * z.numel() * 4)
        << members;
    EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    EXPECT_NEAR(value.item<double>(),
                dice(dice_pair_logits(exact, z.detach().to(at::kDouble), y)).item<double>(), 1e-6);
  }
}
