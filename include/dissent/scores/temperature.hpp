#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace dissent::scores {

// One temperature T for a set of logits: it minimises NLL(T) = mean_n -log softmax(z_n / T)_{y_n},
// nats.
// logits [N >= 1, C] f32 or f64, any device; of an ensemble, those that it predicts with
// (mean_logits). labels [N] i64. The arithmetic is f64, in blocks of rows; each evaluation of the
// NLL reads the logits once.
// Throw Error::kUsage for shape, dtype and labels.

/// Where the search ended.
enum class TemperatureEnd {
  kInside,      ///< at the optimum
  kLowerBound,  ///< NLL still falls towards smaller T: every prediction is right
  kUpperBound,  ///< NLL still falls towards larger T: predictions are no better than chance
  kFlat,  ///< NLL does not depend on T (the logits of each sample are equal); T = 1, or the bound
          ///< next to it
};
/// "inside", "at the lower bound", ..
std::string temperature_end_name(TemperatureEnd end);

struct TemperatureFit {
  double temperature = 1;
  double nll = 0;  ///< at that temperature
  TemperatureEnd end = TemperatureEnd::kInside;
};

struct TemperatureBounds {
  double lowest = 0.001, highest = 100;  ///< 0 < lowest < highest
};

/// The optimum inside the bounds, to a relative accuracy near 1e-12 where the NLL is not flat. The
/// NLL is convex in 1 / T, so the zero of its derivative is bracketed and found by Newton's method;
/// a step that would leave the bracket goes to the geometric mean of its ends. About ten
/// evaluations. Error::kUsage also for bounds that are not 0 < lowest < highest.
TemperatureFit fit_temperature(const at::Tensor& logits, const at::Tensor& labels,
                               TemperatureBounds bounds = {});

/// Convention "sdde": golden section over log T to a relative tolerance on log T, from a bracket
/// that grows in unit steps of log T. The bounds only begin the bracket: on unusual data T ends
/// outside of them, with end kInside. Where scipy finds no bracket and stops (every prediction is
/// right, or wrong, by far; all logits are equal) T is the better bound, or 1, and end says which.
/// Error::kData where the cross-entropy is NaN.
/// Ref: SDDE openood/pipelines/temperature.py, with scipy.optimize.golden and bracket; cases
/// sdde_scores.h5 temperature*.
TemperatureFit fit_temperature_sdde(const at::Tensor& logits, const at::Tensor& labels,
                                    double tolerance = 1e-3, TemperatureBounds bounds = {});

/// Convention "openood": one call of torch's LBFGS from T = 1.5 (rate 0.01, 50 iterations, no line
/// search): far from the optimum in general, and T may be negative.
/// Ref: OpenOOD temp_scaling_postprocessor.py; cases postprocessors.h5 temp_scaling*.
TemperatureFit fit_temperature_openood(const at::Tensor& logits, const at::Tensor& labels);

}  // namespace dissent::scores
