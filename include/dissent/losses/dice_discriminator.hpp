#pragma once
#include <cstdint>
#include <vector>

#include <dissent/losses/dice.hpp>

namespace dissent::losses {

/// The discriminator of DICE: D(z1, z2, y) = MLP([z1, z2, embedding of y]), LeakyReLU between its
/// layers, one output. Its parameters are a list of tensors, so that an optimiser may store them in
/// any form (as views of one vector, for instance):
///   label_embedding [C, E], then W, b of each layer:
///   W0 [U0, 2 D + E], b0 [U0], .., Wn [1, U(n-1)], bn [1]
/// Ref: sdde openood/networks/discriminator.py Discriminator; cases sdde_losses.h5 dice,
/// dice_discriminator.
std::vector<std::vector<int64_t>> dice_discriminator_shapes(int64_t classes, int64_t features,
                                                            const DiceOptions& options = {});

/// Initial parameters of these shapes on the CPU, with torch's distributions: embedding N(0, 1),
/// weights and biases uniform in +-1 / sqrt(inputs). Drawn from a counter-based generator with this
/// seed. dtype f32 or f64.
/// Throws Error::kUsage (sizes < 1).
std::vector<at::Tensor> make_dice_discriminator(int64_t classes, int64_t features, uint64_t seed,
                                                const DiceOptions& options = {},
                                                at::ScalarType dtype = at::kFloat);

/// D of every pair (i, j) of members, i < j, in the order of member_pairs: D(z_ib, z_jb', y_b) with
/// b' = partner_rows[b].
/// parameters    as above, of the features' dtype and device; differentiable
/// features      [M, B, D]  f32 or f64, M >= 2; differentiable. Members of other ranks enter as
///               constants.
/// labels        [B]        i64, 0 .. C - 1
/// partner_rows  [B]        i64, or undefined for b' = b (joint pairs); roll_within_class(labels)
///               for pairs of the product distribution
/// returns       [P, B]
/// D(z1, z2, y) differs from D(z2, z1, y): the order of members matters. The first layer is linear
/// in z1, z2 and the embedding, so it is computed once per member, not once per pair. Memory: about
/// three P x B x U0 and two P x B x U of each further layer, forward and backward.
/// Throws Error::kUsage (one member, shapes, dtypes, labels).
at::Tensor dice_pair_logits(const std::vector<at::Tensor>& parameters, const at::Tensor& features,
                            const at::Tensor& labels, const DiceOptions& options = {},
                            const at::Tensor& partner_rows = {});

/// The loss that trains the discriminator, and its accuracy. One half of the binary cross-entropy
/// of joint against product pairs:
///   value = -1/2 ( mean log sigmoid(joint) + mean log sigmoid(-product) )
struct DiscriminatorLoss {
  at::Tensor value;     ///< scalar, nats; differentiable
  at::Tensor accuracy;  ///< [P] f32, 0 .. 1, no gradient: for each pair half the share of joint > 0
                        ///< plus half the share of product < 0
};
/// joint, product [P, B] f32 or f64 of one dtype and device. Ties (0) count as wrong, so equal
/// logits give 0.5 and zeros give 0.
DiscriminatorLoss dice_discriminator_loss(const at::Tensor& joint, const at::Tensor& product);

/// The same from features [M, B, D] (constants: no gradient reaches the members) and labels [B].
DiscriminatorLoss dice_discriminator_loss(const std::vector<at::Tensor>& parameters,
                                          const at::Tensor& features, const at::Tensor& labels,
                                          const DiceOptions& options = {});

}  // namespace dissent::losses
