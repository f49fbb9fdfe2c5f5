#pragma once
#include <cstdint>

#include <dissent/scores/postprocessor.hpp>
#include <dissent/scores/temperature.hpp>

// Post-processors that read only logits (postprocessor.hpp describes what they share; the features
// may be left undefined).
namespace dissent::scores {

/// max_c softmax(z)_c. (Hendrycks and Gimpel, 2017) State: empty.
at::Tensor score_msp(const State& state, const at::Tensor& features, const at::Tensor& logits);

/// max_c z_c. (Hendrycks et al., 2022) State: empty.
at::Tensor score_maxlogit(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct EnergyOptions {
  double temperature = 1;  ///< above 0
};
/// T log sum_c exp(z_c / T). (Liu et al., 2020) State: temperature.
State fit_energy(const FitData& data, const EnergyOptions& options = {});
at::Tensor score_energy(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct GenOptions {
  double gamma = 0.1;  ///< above 0
  int64_t m = 100;     ///< largest probabilities that count; 0 or more than C: all
};
/// -sum over the m largest p of p^gamma (1 - p)^gamma. (Liu et al., GEN, 2023) State: gamma, m.
State fit_gen(const FitData& data, const GenOptions& options = {});
at::Tensor score_gen(const State& state, const at::Tensor& features, const at::Tensor& logits);

enum class TemperatureConvention { kOptimum, kSdde, kOpenood };
struct TempScalingOptions {
  TemperatureConvention convention = TemperatureConvention::kOptimum;  ///< temperature.hpp
  double lowest = 0.001, highest = 100;                                ///< bounds; openood has none
};
/// max_c softmax(z / T)_c, T fitted on the validation set. (Guo et al., 2017) Reads validation
/// logits and labels.
/// State: temperature [1], nll, end (a TemperatureEnd as a number).
State fit_temp_scaling(const FitData& data, const TempScalingOptions& options = {});
at::Tensor score_temp_scaling(const State& state, const at::Tensor& features,
                              const at::Tensor& logits);

/// -min_c KL(softmax(z) || t_c), t_c the mean softmax of the validation samples PREDICTED as c
/// (first class on ties), one-hot where there are none. (Hendrycks et al., 2022) A KL is infinite
/// where t_c is 0 and p is not; -infinity if all are. Reads validation logits. State: templates [C,
/// C].
State fit_klm(const FitData& data);
at::Tensor score_klm(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct OpenmaxOptions {
  int64_t alpha = 3;  ///< number of largest logits that are revised, 1 or more; above C: all C,
                      ///< with the weights for alpha
  int64_t tail = 20;  ///< number of largest distances per class to which the Weibull is fitted, 2
                      ///< or more; fewer samples: all of them
};
/// MINUS the probability of an unknown class. With d_c = |z - mu_c|, mu_c the mean logits of the
/// class's correctly classified training samples, w_c = 1 - exp(-(max(d_c - shift_c, 0) /
/// scale_c)^shape_c), and omega = (alpha + 1 - rank) / alpha for the alpha largest logits, else 0:
///   z'_c = z_c (1 - w_c omega_c),  z_unknown = sum_c (z_c - z'_c),  softmax over both
/// (Bendale and Boult, 2016)
/// shift is the smallest distance of the tail minus 1, as libMR has it; scale and shape are the
/// maximum likelihood of distances - shift. A class whose tail has less than 2 different distances
/// (no correct sample, ..) has no Weibull: its w is 0 (state: shift infinite, scale and shape 1).
/// Reads training logits and labels. State: mean_logits [C, C], weibull [C, 3] (shift, scale,
/// shape), alpha.
State fit_openmax(const FitData& data, const OpenmaxOptions& options = {});
at::Tensor score_openmax(const State& state, const at::Tensor& features, const at::Tensor& logits);
/// [N, C + 1] f64, the unknown class last.
at::Tensor openmax_probabilities(const State& state, const at::Tensor& logits);

}  // namespace dissent::scores
