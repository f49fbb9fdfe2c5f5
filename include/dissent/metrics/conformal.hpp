#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissent::metrics {

// Conformal prediction sets from probabilities: calibrated on one ID set so that, for exchangeable
// samples, a set holds the label with probability >= level. Classes of a sample in descending order
// of p (lower index first on ties), r_c = 1, 2, .. the rank, s_c the mass of the classes before c:
//   score_c = s_c + u p_c + penalty * max(0, r_c - free_ranks)
//       u uniform in [0, 1), one draw per sample; 1 if not randomised
//   q = the ceil((n + 1) level)-th smallest of the n calibration scores of the labels
//   set = { c : score_c <= q }
// penalty 0: APS (Romano et al., Classification with Valid and Adaptive Coverage, 2020). Above 0:
// RAPS (Angelopoulos et al., Uncertainty Sets for Image Classifiers using Conformal Prediction,
// 2021).
// probabilities [N, C] f32 or f64 in [0, 1], any device (the work is done in f64 on the host);
// labels [N] i64.
// Throw Error::kUsage for shape, dtype, labels and options; Error::kData naming how many
// probabilities are outside of [0, 1] or NaN.

/// Which random numbers u are used, so that those of calibration and test rows are independent.
enum class ConformalPart : uint64_t { kCalibration = 0, kTest = 1 };

struct ConformalOptions {
  double level = 0.9;       ///< above 0 and below 1
  double penalty = 0;       ///< >= 0; the paper of RAPS takes 0.01
  int64_t free_ranks = 5;   ///< >= 0
  bool randomised = true;   ///< false: larger sets, with a coverage above the level
  bool allow_empty = true;  ///< false: an empty set gets the first class
  uint64_t seed = 0;        ///< of u; u is a function of it, the part and the row
};

/// RAPS as published: penalty 0.01, free_ranks 5.
ConformalOptions raps_options(double level = 0.9);

/// Scores of the labels [N] f64. first_row: number of the first of these rows in its set, so that
/// blocks use the same random numbers as the whole set.
at::Tensor conformal_scores(const at::Tensor& probabilities, const at::Tensor& labels,
                            const ConformalOptions& options = {}, int64_t first_row = 0,
                            ConformalPart part = ConformalPart::kCalibration);

/// Which of n calibration scores, ascending from 0, is q; -1 if the level needs more than n: q is
/// infinite, and every set has all classes.
int64_t conformal_position(int64_t n, double level);

/// q of calibration scores [n >= 1], f32 or f64; infinite if the level needs more samples.
/// Error::kData without samples and naming how many are NaN.
double conformal_quantile(const at::Tensor& scores, double level);

/// Whether each class is in the set of each sample: bool [N, C] on the CPU. quantile: q, may be
/// infinite. first_row: as above, of the test set.
at::Tensor conformal_sets(const at::Tensor& probabilities, double quantile,
                          const ConformalOptions& options = {}, int64_t first_row = 0);

/// Coverage and size of sets; integers, so any order, split and rank count gives the same bits.
class ConformalCounts {
 public:
  /// sets [N, C] bool, labels [N] i64.
  void update(const at::Tensor& sets, const at::Tensor& labels);
  /// Throw Error::kData without samples.
  double coverage() const;
  double mean_size() const;
  double empty_share() const;
  /// [4] i64 on the CPU: sums of these are merges.
  at::Tensor state() const;
  static ConformalCounts from_state(const at::Tensor& state);

 private:
  double share_of(int64_t count) const;
  int64_t samples_ = 0, covered_ = 0, classes_ = 0, empty_ = 0;
};

}  // namespace dissent::metrics
