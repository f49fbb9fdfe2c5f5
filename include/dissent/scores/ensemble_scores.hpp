#pragma once
#include <dissent/scores/input.hpp>

namespace dissent::scores {

// Scores of each sample from the outputs of all members. Arguments: outputs [M, B, C] f32 or f64,
// any device, M >= 1, B >= 0 unless said otherwise;
// returns [B] of the same dtype and device. p stands for probabilities(outputs, kind), pbar for its
// mean over members. "Larger" says of which samples larger values are expected: ID (in
// distribution) or OOD. All throw Error::kUsage for shape or dtype.
// Ref: SED diverse_universe/train/losses.py and cross_eval/eval.py; the name there in brackets;
// cases sed_scores.h5.

/// Predictive diversity score: sum_c max_m p_mc, 1 .. min(M, C). Larger: OOD.
/// [div_continous_unique_per_sample]
at::Tensor pds(const at::Tensor& outputs, InputKind kind);

/// Number of different argmax classes of the members, 1 .. M (first index on ties). Larger: OOD.
/// [div_different_preds_per_sample]
at::Tensor different_predictions(const at::Tensor& outputs, InputKind kind);

/// Entropy of the mean prediction, H(pbar), nats. Larger: OOD. [ens_entropy_per_sample]
at::Tensor ensemble_entropy(const at::Tensor& outputs, InputKind kind);

/// Entropy of each member, H(p_m), nats, [B, M]. [unreduced_entropy_per_sample]
at::Tensor member_entropies(const at::Tensor& outputs, InputKind kind);

/// Mean over members of H(p_m), nats. Larger: OOD. [average_entropy_per_sample]
at::Tensor average_entropy(const at::Tensor& outputs, InputKind kind);

enum class MutualInformation {
  kPerSample,  ///< H(pbar_b) - mean over m of H(p_mb): what the name says, independent of the batch
  kReleasedBatch,  ///< H(pbar_b) - mean over m AND over the batch of H(p_mb): as the reference
                   ///< released it, so it depends on the batch
};
/// Mutual information of prediction and member, nats. Larger: OOD (the reference takes ID as
/// positive). [mutual_information_per_sample]
at::Tensor mutual_information(const at::Tensor& outputs, InputKind kind,
                              MutualInformation definition = MutualInformation::kPerSample);

/// Mean over members of -log sum_c exp z_mc. The outputs are always treated as logits.
/// Larger: OOD. [average_energy_per_sample]
at::Tensor average_energy(const at::Tensor& logits);

/// MINUS the mean over members of max_c z_mc. Outputs are treated as logits. Larger: OOD (the
/// reference takes ID as positive).
/// [average_max_logit_per_sample]
at::Tensor average_max_logit(const at::Tensor& logits);

/// Mean over ordered pairs (m, i), i != m, of log( p_i (1 - p_m) + p_m (1 - p_i) + 1e-9 ) at class
/// argmax_c p_i: minus the A2D loss over every draw. M >= 2. Larger: OOD. [a2d_score_per_sample]
/// Memory: M x B x M in addition to p.
at::Tensor a2d_score(const at::Tensor& outputs, InputKind kind);

/// Mean of the full M x M matrix of L2 distances |p_m - p_i|, zero diagonal included. Larger: OOD.
/// [similarity_between_models_per_sample]
at::Tensor similarity(const at::Tensor& outputs, InputKind kind);

/// max_c of softmax(mean over members of z), the confidence of the ensemble. For probabilities:
/// max_c pbar. Larger: ID. [ensemble_conf]
at::Tensor msp(const at::Tensor& outputs, InputKind kind);

/// Mean over members of max_c p_mc. Larger: ID. [mean_submodel_conf]
at::Tensor mean_member_confidence(const at::Tensor& outputs, InputKind kind);

}  // namespace dissent::scores
