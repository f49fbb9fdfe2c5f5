#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissent::scores {

/// Vector scaling: one factor and one shift per class, z'_c = scale_c z_c + shift_c. Guo et al., On
/// Calibration of Modern Neural Networks, 2017, 4.2.
struct VectorScaling {
  at::Tensor scale, shift;  ///< [C] f64, device of the logits it was fitted on; the shifts sum to 0
  double nll = 0;           ///< mean on the fitted logits, nats
  double gradient = 0;      ///< largest absolute derivative of it
  int64_t steps = 0;
  bool converged = false;  ///< gradient <= tolerance
};

struct VectorScalingOptions {
  double tolerance = 1e-7;   ///< > 0
  int64_t most_steps = 500;  ///< >= 0
};

/// Minimises the mean negative log-likelihood, which is convex in (scale, shift), by L-BFGS in f64
/// from the best temperature (fit_temperature), so that it is never worse than temperature scaling.
/// Where the data have no minimum (all predictions right, or a class without samples: its shift
/// falls without limit) it ends when the derivative is small or at most_steps. Blocks of 4,096 rows
/// are summed in row order: same bits for any number of threads. logits [N >= 1, C] f32 or f64, any
/// device; of an ensemble, those it predicts with. labels [N] i64.
/// Throws Error::kUsage for shape, dtype, labels, options.
VectorScaling fit_vector_scaling(const at::Tensor& logits, const at::Tensor& labels,
                                 VectorScalingOptions options = {});

/// logits [..., C] f32 or f64, any device, scaled in f64; returns their dtype. Error::kUsage for
/// another number of classes.
at::Tensor scale_logits(const at::Tensor& logits, const VectorScaling& scaling);

}  // namespace dissent::scores
