#pragma once
#include <dissent/metrics/exact_sum.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace dissent::metrics {

/// Kind of the members' outputs, for Diversity.
enum class MemberOutputs { kLogits, kProbabilities };

/// Diversity of the members of an ensemble over samples. p_m are probabilities [N, C]; i, j
/// are members, pairs i < j. Larger is more diverse, except for q_statistic, correlation and
/// double_fault.
struct DiversityValues {
  /// From predictions and probabilities.
  double disagreement = 0;  ///< share of (pair, sample) with different predictions
  double kl = 0;  ///< mean over ordered pairs and samples of sum_c p_i log(p_i / p_j), nats
  double jensen_shannon = 0;  ///< mean over pairs and samples of H((p_i + p_j) / 2) - (H(p_i) +
                              ///< H(p_j)) / 2, nats; NaN if it was not requested
  double variance = 0;  ///< mean over samples and classes of the variance over members of p (M - 1)
  double mutual_information =
      0;                      ///< mean entropy of the mean minus mean entropy of the members, nats
  double total_entropy = 0;   ///< mean entropy of the mean, nats
  double member_entropy = 0;  ///< mean entropy of the members, nats
  /// From correct and wrong predictions, NaN without labels. Counts of a pair: a both correct, b
  /// and c only one correct, d both wrong.
  double q_statistic =
      std::numeric_limits<double>::quiet_NaN();  ///< mean over pairs of (a d - b c) / (a d + b c);
                                                 ///< pairs with 0 / 0 are left out
  double correlation =
      std::numeric_limits<double>::quiet_NaN();  ///< mean of (a d - b c) / sqrt((a + b)(c + d)(a +
                                                 ///< c)(b + d)); likewise
  double double_fault = std::numeric_limits<double>::quiet_NaN();  ///< mean share of samples that
                                                                   ///< both predict wrongly
  double unequal_success =
      std::numeric_limits<double>::quiet_NaN();  ///< mean share of samples that exactly one of
                                                 ///< the two predicts correctly
};

/// Collects them over blocks of samples: integer counts and exact sums, so any order, split and
/// rank count gives the same bits. Memory: M^2 counts.
/// Ref: Kuncheva & Whitaker, Measures of diversity in classifier ensembles, 2003; Lakshminarayanan
/// et al. 2017; Depeweg et al. 2018.
class Diversity {
 public:
  /// members >= 2. pairwise_divergence: whether jensen_shannon is computed, which takes one
  /// logarithm per pair, sample and class; all other values take one per member, sample and class.
  explicit Diversity(int64_t members, bool pairwise_divergence = true);
  /// outputs [M, N, C] f32 or f64, any device (the work is done in f64 on the host); labels [N] i64
  /// or undefined (then in every update).
  void update(const at::Tensor& outputs, const at::Tensor& labels = {},
              MemberOutputs kind = MemberOutputs::kLogits);
  void merge(const Diversity& other);
  /// Throws Error::kData without samples, Error::kUsage if only some of the updates had labels.
  DiversityValues finish() const;
  /// [i][j] share of samples that members i and j predict differently: [M, M] f64.
  at::Tensor disagreement_matrix() const;

  /// Flat i64 on the CPU: sums of these are merges. from_state: into this one, made with the same
  /// arguments.
  at::Tensor state() const;
  void from_state(const at::Tensor& state);

 private:
  void count_predictions(const at::Tensor& predictions, const at::Tensor& labels);
  void add_row(const double* p, const double* log_p, int64_t rows, int64_t classes);
  void finish_pairs(DiversityValues& values) const;
  int64_t members_;
  bool pairwise_divergence_;
  int64_t rows_ = 0, labelled_ = 0;
  std::vector<int64_t> different_,
      both_right_;  ///< [M, M]; the diagonal of both_right_ counts right answers
  ExactSum kl_, jensen_shannon_, variance_, total_entropy_, member_entropy_;
};

}  // namespace dissent::metrics
