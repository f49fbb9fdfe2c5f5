#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent::scores {

/// SDDE's eleven ways to one confidence per sample from the logits z_m of the members and the
/// logits zbar of the ensemble; larger: in distribution. p_m = softmax(z_m). Deviations divide by M
/// - 1 and need two members; energies have no minus sign.
enum class Aggregation {
  kAverage,        ///< "average"         max_c softmax(zbar)
  kProbAverage,    ///< "prob_average"    max_c mean_m p_m
  kProbMinmax,     ///< "prob_minmax"     min_m max_c p_m
  kProbMaxstd,     ///< "prob_maxstd"     -std_m max_c p_m
  kLogitAverage,   ///< "logit_average"   max_c zbar
  kMinmax,         ///< "minmax"          min_m max_c z_m
  kStdmax,         ///< "stdmax"          -max_c std_m z_m
  kMaxstd,         ///< "maxstd"          -std_m max_c z_m
  kAverageMinmax,  ///< "average_minmax"  min_m z_m at the class argmax_c zbar (first on ties)
  kEnergy,         ///< "energy"          log sum_c exp zbar
  kAverageEnergy,  ///< "average_energy"  mean_m log sum_c exp z_m
};

/// The names above, in that order; the reference writes a hyphen for the underscore.
const std::vector<std::string>& aggregation_names();
/// Throws Error::kUsage that lists the names.
Aggregation aggregation(const std::string& name);
/// 1 or, for deviations, 2.
int64_t min_members(Aggregation aggregation);

/// The confidence [B] of logits [M, B, C] f32 or f64, any device, of the same dtype and device;
/// differentiable. ensemble [B, C]: zbar, where it is not the mean of logits
/// (log_mean_probabilities(..), a weighted mean, ..).
/// For a temperature T give logits / T, and ensemble / T.
/// Throws Error::kUsage for shape, dtype or too few members.
/// Ref: SDDE openood/postprocessors/deed_postprocessor.py; cases sdde_scores.h5.
at::Tensor aggregate(Aggregation aggregation, const at::Tensor& logits,
                     const at::Tensor& ensemble = {});

}  // namespace dissent::scores
