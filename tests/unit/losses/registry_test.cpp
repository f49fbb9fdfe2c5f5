// Properties that every loss of the table has to have, and that its line has to tell truly.
#include "losses/registry.hpp"

#include <dissent/losses/adp.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/logit_norm.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "expect_error.hpp"
#include "loss_variants.hpp"
#include "unit/losses/made_losses.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

const std::vector<int64_t> kEveryMember = {0, 1, 2, 3};

double value_of(const LossVariant& variant, const LossInput& input) {
  return evaluate(variant.loss, input, variant.options).item<double>();
}
LossTraits traits_of(const LossVariant& variant) {
  return losses::traits_of(find_loss(variant.loss), variant.options);
}
std::string text(const LossVariant& variant) { return variant.loss + variant.note; }

}  // namespace

TEST(LossTable, NamesAreUniqueAndFoundAndLinesAreFull) {
  std::set<std::string> names;
  for (const auto& loss : loss_table()) {
    EXPECT_TRUE(names.insert(loss.name).second) << loss.name;
    EXPECT_EQ(&find_loss(loss.name), &loss);
    EXPECT_EQ(loss.options.name, "loss." + loss.name);
    EXPECT_FALSE(loss.summary.empty() || loss.formula.empty() || loss.citation.empty() ||
                 loss.traits.needs.empty())
        << loss.name;
  }
  expect_error(ErrorKind::kUsage, "loss: expected one of cross_entropy, logit_norm, ",
               [] { find_loss("a2s"); });
}

TEST(LossTable, ValuesAreFiniteScalarsWithAGradient) {
  const MadeEnsemble made;
  for (const auto& variant : all_loss_variants())
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      const auto input = made.input(kEveryMember, 0, 6, dtype);
      const auto value = evaluate(variant.loss, input, variant.options);
      EXPECT_EQ(value.dim(), 0) << text(variant);
      EXPECT_EQ(value.scalar_type(), dtype) << text(variant);
      EXPECT_TRUE(value.isfinite().item<bool>()) << text(variant);
      EXPECT_TRUE(value.requires_grad()) << text(variant);
      EXPECT_NEAR(value.item<double>(), value_of(variant, made.input(kEveryMember)), 1e-4)
          << text(variant);
    }
}

TEST(LossTable, OneSampleIsEnough) {
  const MadeEnsemble made;
  for (const auto& variant : all_loss_variants())
    EXPECT_TRUE(std::isfinite(value_of(variant, made.input(kEveryMember, 2, 1)))) << text(variant);
}

TEST(LossTable, OrderOfMembersDoesNotMatter) {
  const MadeEnsemble made;
  for (const auto& variant : all_loss_variants()) {
    auto one = made.input(kEveryMember), other = made.input({2, 0, 3, 1});
    one.drawn_member = 3;  // the same member
    other.drawn_member = 2;
    if (traits_of(variant).trains_discriminator)
      continue;  // D(z_i, z_j) depends on the order of its two members
    EXPECT_NEAR(value_of(variant, one), value_of(variant, other), 1e-9) << text(variant);
  }
}

TEST(LossTable, FewestMembersAreEnoughAndOneLessIsAnError) {
  const MadeEnsemble made;
  for (const auto& variant : all_loss_variants()) {
    const auto fewest = traits_of(variant).min_members;
    ASSERT_TRUE(fewest == 1 || fewest == 2) << text(variant);
    EXPECT_TRUE(std::isfinite(value_of(
        variant, made.input(fewest == 1 ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 2}))))
        << text(variant);
    if (fewest == 2)
      expect_error(ErrorKind::kUsage, "expected [M >= 2",
                   [&] { value_of(variant, made.input({1})); });
  }
}

// A loss may declare itself coupled over the batch at options where it happens to be a mean, but
// not at all of them.
TEST(LossTable, ALossThatIsAMeanOverSamplesIsThatOfItsHalves) {
  const MadeEnsemble made;
  std::map<std::string, double> coupling;
  for (const auto& variant : all_loss_variants()) {
    const double whole = value_of(variant, made.input(kEveryMember)),
                 halves = (value_of(variant, made.input(kEveryMember, 0, 3)) +
                           value_of(variant, made.input(kEveryMember, 3, 3))) /
                          2;
    if (!traits_of(variant).nonlinear_in_batch) {
      EXPECT_NEAR(whole, halves, 1e-9) << text(variant);
      continue;
    }
    auto& largest = coupling[variant.loss];
    largest = std::max(largest, std::abs(whole - halves));
  }
  for (const auto& [loss, largest] : coupling) EXPECT_GT(largest, 1e-6) << loss;
}

TEST(LossTable, ALossThatExchangesNothingIsTheMeanOfItsMembers) {
  const MadeEnsemble made;
  for (const auto& variant : all_loss_variants()) {
    const auto traits = traits_of(variant);
    if (traits.min_members > 1) {
      EXPECT_FALSE(traits.exchanged.empty()) << text(variant);
      continue;
    }
    const double whole = value_of(variant, made.input(kEveryMember));
    double mean = 0;
    for (const int64_t m : kEveryMember) mean += value_of(variant, made.input({m})) / 4;
    if (traits.exchanged.empty())
      EXPECT_NEAR(whole, mean, 1e-12) << text(variant);
    else
      EXPECT_GT(std::abs(whole - mean), 1e-6) << text(variant);
  }
}

TEST(LossTable, WhatIsNeededIsAskedForByNameAndNothingElseIsRead) {
  const MadeEnsemble made;
  const auto full = made.input(kEveryMember);
  const auto with = [&](const std::vector<Field>& fields) {
    LossInput input;
    for (const auto field : fields) {
      if (field == Field::kLogits) input.logits = full.logits;
      if (field == Field::kLabels) input.labels = full.labels;
      if (field == Field::kFeatureMaps) input.feature_maps = full.feature_maps;
      if (field == Field::kLogitNoise) input.logit_noise = full.logit_noise;
      if (field == Field::kImages) input.images = full.images;
      if (field == Field::kFeatures) input.features = full.features;
      if (field == Field::kDiscriminator) input.discriminator = full.discriminator;
      if (field == Field::kUnlabelledLogits) input.unlabelled_logits = full.unlabelled_logits;
      if (field == Field::kAdversarialLogits) input.adversarial_logits = full.adversarial_logits;
    }
    return input;
  };
  for (const auto& variant : all_loss_variants()) {
    const auto needs = traits_of(variant).needs;
    EXPECT_EQ(value_of(variant, with(needs)), value_of(variant, full)) << text(variant);
    for (const auto missing : needs) {
      if (missing == Field::kDrawnMember) continue;
      auto rest = needs;
      std::erase(rest, missing);
      expect_error(ErrorKind::kUsage,
                   variant.loss + ": " + field_name(missing) + ": expected it, found nothing",
                   [&] { value_of(variant, with(rest)); });
    }
  }
}

TEST(LossTable, BaseLossesTakeALabelledBatchOfEachMember) {
  const MadeEnsemble made;
  const auto other = at::tensor({1, 1, 0, 3, 2, 4}, at::kLong);
  for (const auto& loss : loss_table()) {
    if (loss.kind != LossKind::kBase) continue;
    const auto& name = loss.name;
    auto first = made.input({0}), second = made.input({1}), both = made.input({0, 1});
    second.labels = other;
    both.labels = at::stack({first.labels, other});
    EXPECT_NEAR(evaluate(name, both).item<double>(),
                (evaluate(name, first).item<double>() + evaluate(name, second).item<double>()) / 2,
                1e-14)
        << name;
    both.labels = both.labels.narrow(0, 0, 1);
    expect_error(ErrorKind::kUsage, "labels: expected [B] or [2, B] Long, found [1, 6]",
                 [&] { evaluate(name, both); });
  }
}

TEST(LossOptions, AreSetByKey) {
  std::any options;
  set_option(find_loss("adp"), options, "alpha", 3.0);
  EXPECT_EQ(std::any_cast<AdpOptions>(options).alpha, 3);
  EXPECT_EQ(std::any_cast<AdpOptions>(options).beta, AdpOptions{}.beta);
  std::any saliency = GradCamOptions{.crop = 0};
  set_option(find_loss("gradcam"), saliency, "similarity", std::string("iou"));
  EXPECT_EQ(std::any_cast<GradCamOptions>(saliency).similarity, Similarity::kIou);
  EXPECT_EQ(std::any_cast<GradCamOptions>(saliency).crop, 0);
  expect_error(ErrorKind::kUsage,
               "adp: expected options alpha, beta, found option 'alhpa'; did you mean 'alpha'?",
               [&] { set_option(find_loss("adp"), options, "alhpa", 1.0); });
  expect_error(ErrorKind::kUsage, "ncl: expected no options, found option 'tau'", [] {
    std::any none;
    set_option(find_loss("ncl"), none, "tau", 1.0);
  });
  expect_error(ErrorKind::kUsage, "adp: beta: expected a finite number >= 0, found -1.0",
               [&] { set_option(find_loss("adp"), options, "beta", -1.0); });
  expect_error(
      ErrorKind::kUsage,
      "gradcam: similarity: expected one of dot, cosine, expcosine, iou, logdet, found \"cos\"",
      [&] { set_option(find_loss("gradcam"), saliency, "similarity", std::string("cos")); });
  expect_error(ErrorKind::kUsage,
               "dice: options: expected those of this loss, found those of another",
               [&] { evaluate("dice", {}, options); });
}

TEST(LossOptions, DefaultsAreThoseOfTheStructs) {
  for (const auto& loss : loss_table()) {
    auto defaults = loss.default_options;
    for (const auto& option : loss.options.options)
      EXPECT_EQ(option.text(loss.struct_of(defaults)), option.default_text)
          << loss.name << "." << option.key;
  }
}

TEST(LossesPage, HasEveryLossAndKey) {
  const auto page = losses_page();
  for (const auto& loss : loss_table()) {
    EXPECT_NE(page.find("\n## `" + loss.name + "`\n"), std::string::npos) << loss.name;
    for (const auto& option : loss.options.options)
      EXPECT_NE(page.find("| `" + option.key + "` |"), std::string::npos) << option.key;
  }
  for (const auto& option : weight_table().options)
    EXPECT_NE(page.find("| `" + option.key + "` |"), std::string::npos) << option.key;
}
