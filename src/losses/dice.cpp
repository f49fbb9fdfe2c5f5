#include <dissent/losses/dice.hpp>
#include <dissent/losses/dice_discriminator.hpp>

#include <cmath>
#include <cstdint>

#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"

namespace dissent::losses {

std::vector<std::pair<int64_t, int64_t>> member_pairs(int64_t members) {
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (int64_t i = 0; i < members; ++i)
    for (int64_t j = i + 1; j < members; ++j) pairs.emplace_back(i, j);
  return pairs;
}

at::Tensor dice(const at::Tensor& pair_logits, const DiceOptions& options) {
  const bool fits =
      pair_logits.defined() && pair_logits.dim() == 2 && pair_logits.numel() > 0 &&
      (pair_logits.scalar_type() == at::kFloat || pair_logits.scalar_type() == at::kDouble);
  DISSENT_CHECK(fits, kUsage,
                "dice: pair_logits: expected [P >= 1, B >= 1] of f32 or f64, found {}",
                describe(pair_logits));

  DISSENT_CHECK(options.tau > 0 && std::isfinite(options.tau), kUsage,
                "dice: tau: expected a number > 0, found {}", options.tau);

  // -log(exp(-D) + eps) without the exponential, which would overflow: min(D, c) - log(1 +
  // exp(-|D - c|)) with c = -log eps.
  const auto bound = at::full({}, -std::log(kDiceEps), pair_logits.options());
  const auto ratio = at::minimum(pair_logits, bound) - at::softplus(-(pair_logits - bound).abs());
  return ((ratio / options.tau).tanh() * options.tau).mean();
}

at::Tensor roll_within_class(const at::Tensor& labels) {
  DISSENT_CHECK(labels.defined() && labels.dim() == 1 && labels.numel() > 0 &&
                    labels.scalar_type() == at::kLong,
                kUsage, "roll_within_class: labels: expected [B >= 1] Long, found {}",
                describe(labels));

  // Samples sorted by class: those of a class are neighbours, from place `first` to place `last`.
  const auto order = labels.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  const auto sorted = labels.index_select(0, order);
  const auto place = at::arange(labels.size(0), labels.options());
  const auto first = at::searchsorted(sorted, sorted),
             last = at::searchsorted(sorted, sorted, /*out_int32=*/false, /*right=*/true) - 1;

  // The place before, or the last one for the first sample of a class; then back to sample numbers.
  const auto before = at::where(place.eq(first), last, place - 1);
  return at::empty_like(order).scatter_(0, order, order.index_select(0, before));
}

namespace {

// The members are trained against a fixed discriminator: no gradient reaches its parameters.
at::Tensor evaluate_dice(const LossInput& input, const DiceOptions& options) {
  std::vector<at::Tensor> constants;
  for (const auto& parameter : input.discriminator) constants.push_back(parameter.detach());
  return dice(dice_pair_logits(constants, input.features, input.labels, options), options);
}

}  // namespace

LossInfo dice_info() {
  const auto keys =
      OptionTable<DiceOptions>("loss.dice", "DICE")
          .option("tau", &DiceOptions::tau,
                  {.meaning = "the log ratio is clipped to -tau .. tau, > 0", .min = 1e-6})
          .option("units", &DiceOptions::units,
                  {.meaning = "sizes of the discriminator's hidden layers", .min = 1})
          .option("label_dim", &DiceOptions::label_dim,
                  {.meaning = "size of the discriminator's label embedding", .min = 1})
          .option(
              "leaky_slope", &DiceOptions::leaky_slope,
              {.meaning = "negative slope of the discriminator's LeakyReLU", .min = 0, .max = 1});

  return loss_info<DiceOptions>(
      {.name = "dice",
       .summary = "Information that the features of two members share beyond the label, estimated "
                  "by a discriminator that is trained alongside",
       .formula = "mean over b, i < j of tau tanh(r / tau),  r = -log(exp(-D(z_i, z_j, y)) + 1e-6)",
       .citation = "Rame and Cord, DICE: Diversity in Deep Ensembles via Conditional "
                   "Redundancy Adversarial Estimation, ICLR 2021",
       .kind = LossKind::kDiversity,
       // The discriminator compares features of pairs, so ranks exchange features and not logits.
       .traits = {.needs = {Field::kFeatures, Field::kLabels, Field::kDiscriminator},
                  .exchanged = {Field::kFeatures},
                  .min_members = 2,
                  .trains_discriminator = true},
       .traits_note = "the discriminator's own loss compares samples of the same class, so it is "
                      "not a mean over samples"},
      keys, evaluate_dice);
}

}  // namespace dissent::losses
