#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent::metrics {

/// One metric of one set of inputs.
struct SetValue {
  std::string set, shift;  ///< shift: id, covariate, near, far, semantic
  std::string metric;      ///< with score and predictor: means are over values of equal names
  double value = 0;
  int64_t samples = 0;
};

/// The plain mean over the sets of a shift, for each shift and metric in order of appearance: set
/// is "<shift> mean", samples their sum. NaN passes through. As SDDE and OpenOOD report near and
/// far OOD: no mean over both, no pooling of samples.
/// Ref: OpenOOD openood/evaluators/ood_evaluator.py.
std::vector<SetValue> shift_means(const std::vector<SetValue>& values,
                                  const std::vector<std::string>& shifts = {"near", "far"});

/// Inputs of metrics of one set: confidence [N], predictions [N] i64, labels [N] i64.
struct LabelledScores {
  at::Tensor confidence, predictions, labels;
};

/// Full spectrum: the covariate-shifted in-distribution sets (csid) joined to the ID set, which
/// then counts as one ID set, for both accuracy and OOD detection.
/// Ref: OpenOOD openood/evaluators/fsood_evaluator.py; Yang et al., Full-Spectrum
/// Out-of-Distribution Detection, 2023.
/// Throws Error::kUsage for fields of different lengths, dtypes or devices.
LabelledScores full_spectrum(const LabelledScores& id,
                             const std::vector<LabelledScores>& covariate);

}  // namespace dissent::metrics
