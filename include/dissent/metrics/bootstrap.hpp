#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissent::metrics {

// Difference between two methods a and b with an interval: paired bootstrap. Both methods are
// evaluated on the same samples, so each resample draws samples, with replacement, once for both;
// with several seeds it also draws seeds (a pair of runs, one of each method), independently:
// two-way resampling of crossed factors, which is conservative. Draws come from counters (seed,
// resample), so the interval is the same for any number of threads and ranks.
// Ref: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, 13.3; Owen, The pigeonhole
// bootstrap, 2007.

struct BootstrapOptions {
  int64_t resamples = 1000;  ///< >= 2
  double level = 0.95;       ///< of the interval, above 0 and below 1
  uint64_t seed = 0;
};

struct DifferenceInterval {
  double difference = 0;     ///< of the samples as they are: a minus b
  double low = 0, high = 0;  ///< percentiles (1 -+ level) / 2 of the resampled differences, between
                             ///< two of them by linear interpolation
  double standard_error = 0;  ///< deviation of the resampled differences (resamples - 1)
};

/// Difference of means over samples (accuracy, NLL, Brier: values of one sample). a, b [N >= 1] or
/// [S >= 1 seeds, N], f32, f64 or bool, finite, any device.
/// Throws Error::kUsage for shape, dtype and options; Error::kData naming how many values are not
/// finite.
DifferenceInterval paired_bootstrap(const at::Tensor& a, const at::Tensor& b,
                                    BootstrapOptions options = {});

/// Scores of one method, larger for positives: positive [P >= 1] or [S, P], negative [N >= 1] or
/// [S, N], f32 or f64.
struct ScoredSets {
  at::Tensor positive, negative;
};

/// Difference of AUROCs, ties one half; the mean over several seeds. Positive and negative samples
/// are drawn apart. Each seed's scores are sorted once, and a resample is one pass over them with
/// the number of times that each sample was drawn. +-inf are scores; NaN is Error::kData.
DifferenceInterval paired_bootstrap_auroc(const ScoredSets& a, const ScoredSets& b,
                                          BootstrapOptions options = {});

}  // namespace dissent::metrics
