#pragma once
#include <cstdint>
#include <vector>

#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/dice_discriminator.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>

#include "comm/grid.hpp"
#include "finite_difference.hpp"
#include "losses/registry.hpp"

namespace dissent::testing {

/// An ensemble of small networks, the same on every machine, of which a rank makes its members on
/// its rows:
///   feature maps f = tanh(conv(x, U)), features z = spatial mean of f^2, logits = V z, weights of
///       a member (U, V)
/// Each member's network is computed by itself, so that its bits do not depend on who else is
/// there.
struct SplitEnsemble {
  static constexpr int64_t kMembers = 5, kRows = 13, kUnlabelled = 11, kClasses = 6, kMaps = 4,
                           kSide = 7;
  at::ScalarType dtype = at::kDouble;
  bool stacked = false;     ///< maps and images of all members in one tensor
  bool own_labels = false;  ///< labels [M, B]
  losses::DiceOptions dice = {.tau = 10, .units = {7}, .label_dim = 3, .leaky_slope = 0.2};

  struct Local {
    losses::LossInput input;
    std::vector<at::Tensor> weights;  ///< U, V of each member
  };

  at::Tensor made(std::vector<int64_t> shape, uint64_t seed, double deviation = 1) const {
    return made_logits(1, 1, c10::multiply_integers(shape), deviation, seed).view(shape).to(dtype);
  }

  struct Outputs {
    std::vector<at::Tensor> images, maps, features, logits;
  };

  // Of these members; images [b, 3, ..] of each.
  Outputs forward(const std::vector<at::Tensor>& weights,
                  const std::vector<at::Tensor>& images) const {
    Outputs out{images, {}, {}, {}};
    for (size_t m = 0; m < images.size(); ++m)
      out.maps.push_back(at::conv2d(images[m], weights[2 * m]).tanh());
    auto maps = out.maps;
    if (stacked) {
      out.maps = {at::stack(maps)};
      maps = out.maps[0].unbind(0);
    }
    for (size_t m = 0; m < images.size(); ++m) {
      out.features.push_back(maps[m].square().mean(at::IntArrayRef{2, 3}));
      out.logits.push_back(at::linear(out.features[m], weights[2 * m + 1]));
    }
    return out;
  }

  losses::MemberInputs inputs(const std::vector<at::Tensor>& tensors) const {
    return stacked ? losses::MemberInputs::stacked(tensors[0])
                   : losses::MemberInputs::each(tensors);
  }

  Local local(Part members, Part rows, Part unlabelled) const {
    Local all;
    const auto u = made({kMembers, kMaps, 3, 3, 3}, 1, 0.5),
               v = made({kMembers, kClasses, kMaps}, 2, 4);
    const auto x = made({kRows, 3, kSide, kSide}, 3).narrow(0, rows.first, rows.count);
    const auto outliers =
        made({kUnlabelled, 3, kSide, kSide}, 4, 2).narrow(0, unlabelled.first, unlabelled.count);
    for (int64_t m = members.first; m < members.first + members.count; ++m)
      for (const auto& weight : {u[m], v[m]})
        all.weights.push_back(weight.clone().set_requires_grad(true));
    std::vector<at::Tensor> copies(members.count);
    for (auto& copy : copies) copy = x.clone().set_requires_grad(true);
    const auto images =
        stacked ? std::vector<at::Tensor>{at::stack(copies).detach().set_requires_grad(true)}
                : copies;
    const auto out = forward(all.weights, stacked ? images[0].unbind(0) : copies);

    auto& input = all.input;
    input.images = inputs(images);
    input.feature_maps = inputs(out.maps);
    input.features = at::stack(out.features);
    input.logits = at::stack(out.logits);
    auto labels =
        (at::arange(kMembers * kRows, at::kLong).square() % 17 % kClasses).view({kMembers, kRows});
    labels = labels.narrow(1, rows.first, rows.count);
    input.labels = own_labels ? labels.narrow(0, members.first, members.count) : labels[0];
    input.logit_noise =
        losses::logit_noise(at::empty({members.count, kRows, kClasses}, dtype), 5, 9, members.first)
            .narrow(1, rows.first, rows.count);
    input.unlabelled_logits =
        at::stack(forward(all.weights, std::vector<at::Tensor>(members.count, outliers)).logits);
    std::vector<at::Tensor> moved;
    for (size_t m = 0; m < copies.size(); ++m) {
      const auto loss =
          losses::cross_entropy(input.logits.narrow(0, static_cast<int64_t>(m), 1),
                                own_labels ? input.labels[static_cast<int64_t>(m)] : input.labels)
              .sum();
      const auto& image = images[stacked ? 0 : m];
      const auto all_moved = losses::adversarial_inputs(loss, image, 0.1);
      moved.push_back(stacked ? all_moved[static_cast<int64_t>(m)] : all_moved);
    }
    input.adversarial_logits = at::stack(forward(all.weights, moved).logits);
    for (const auto& parameter :
         losses::make_dice_discriminator(kClasses, kMaps, 5, dice, at::kDouble))
      input.discriminator.push_back(parameter.to(dtype));
    input.drawn_member = 3;
    return all;
  }
};

}  // namespace dissent::testing
