#pragma once
#include <cstdint>
#include <vector>

#include <dissent/losses/dice_discriminator.hpp>

#include "finite_difference.hpp"
#include "losses/registry.hpp"

namespace dissent::testing {

inline losses::DiceOptions small_discriminator() {
  losses::DiceOptions options;
  options.units = {7};
  options.label_dim = 3;
  return options;
}

/// A small ensemble and all that losses may read of it, the same on every machine:
///   maps = log(1 + exp(V images)), features = spatial mean of tanh(maps), logits = W features
struct MadeEnsemble {
  static constexpr int64_t kMembers = 4, kRows = 6, kClasses = 5;
  at::Tensor v = made_logits(kMembers, 3, 2, 1.0, 1),
             w = made_logits(kMembers, kClasses, 3, 3.0, 2);
  at::Tensor images = made_logits(2 * kRows, 2, 20, 1.0, 3)
                          .view({2 * kRows, 2, 4, 5});  // the second half are outliers
  at::Tensor labels = at::tensor({0, 2, 2, 0, 1, 4}, at::kLong),
             noise = made_logits(kMembers, kRows, kClasses, 1.0, 4);
  losses::DiceOptions dice = small_discriminator();
  std::vector<at::Tensor> discriminator =
      losses::make_dice_discriminator(kClasses, 3, 5, dice, at::kDouble);

  losses::LossInput forward(const at::Tensor& indices, const at::Tensor& batch) const {
    losses::LossInput input;
    auto own = at::stack(std::vector<at::Tensor>(indices.size(0), batch)).set_requires_grad(true);
    const auto maps =
        at::einsum("mkc,mbcxy->mbkxy", {v.index_select(0, indices).to(batch.scalar_type()), own})
            .exp()
            .log1p();
    input.images = losses::MemberInputs::stacked(own);
    input.feature_maps = losses::MemberInputs::stacked(maps);
    input.features = maps.tanh().mean(at::IntArrayRef{3, 4});
    input.logits = at::einsum("mlk,mbk->mbl",
                              {w.index_select(0, indices).to(batch.scalar_type()), input.features});
    return input;
  }

  /// Of these members, on rows first .. first + count - 1.
  losses::LossInput input(const std::vector<int64_t>& members, int64_t first = 0,
                          int64_t count = kRows, at::ScalarType dtype = at::kDouble) const {
    const auto indices = at::tensor(members, at::kLong);
    const auto batch = images.to(dtype).narrow(0, first, count);
    auto made = forward(indices, batch);
    made.labels = labels.narrow(0, first, count);
    made.logit_noise = noise.index_select(0, indices).narrow(1, first, count).to(dtype);
    made.unlabelled_logits =
        forward(indices, images.to(dtype).narrow(0, kRows + first, count)).logits;
    made.adversarial_logits = forward(indices, batch + 0.1 * batch.sign()).logits;
    for (const auto& parameter : discriminator) made.discriminator.push_back(parameter.to(dtype));
    return made;
  }
};

}  // namespace dissent::testing
