#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dissent {

/// Whether fused_scores has this score of scores::score_table() (as defined, not as SED released
/// it).
bool is_fused(const std::string& score);

/// Scores of an ensemble from one pass over the logits: each row is read once, its exponentials are
/// taken once, and all scores follow while it is in cache. The same definitions as the functions of
/// score_table(), which take a pass each; the values agree to a few units in the last place of f32.
/// logits [M, B, C] f32, host, contiguous in rows; divisor: temperature. Returns [scores, B] f64. A
/// row with a logit that is not finite scores NaN. Rows run on the threads of core/parallel.hpp,
/// with the same bits for any number.
at::Tensor fused_scores(const at::Tensor& logits, const std::vector<std::string>& scores,
                        double divisor = 1);

}  // namespace dissent
