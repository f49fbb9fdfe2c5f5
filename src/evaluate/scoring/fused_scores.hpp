#pragma once
#include <ATen/core/Tensor.h>
#include <dissent/scores/registry.hpp>

#include <vector>

namespace dissent {

/// Whether fused_scores computes this score (with its usual definition, not as released by SED).
bool is_fused(const scores::ScoreInfo& score);

/// Scores of an ensemble from one pass over the logits: each row is read once, its exponentials are
/// computed once, and all scores follow while the row is in cache. The definitions are those of the
/// functions in score_table(), which take one pass each; the values agree to a few units in the
/// last place of f32. logits [M, B, C] f32, host, contiguous in rows; divisor: temperature. Returns
/// [scores, B] f64. A row with a logit that is not finite scores NaN. Rows are divided among the
/// threads of core/parallel.hpp, with the same bits for any number of them. Error::kUsage: shape or
/// dtype, a score that is_fused() excludes, fewer members than a score needs.
at::Tensor fused_scores(const at::Tensor& logits,
                        const std::vector<const scores::ScoreInfo*>& scores, double divisor = 1);

}  // namespace dissent
