#pragma once
#include <dissent/metrics/accuracy.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/metrics/reliability.hpp>

#include <cstdint>
#include <string>

namespace dissent::metrics {

/// All values of one predictor on a labelled set that are sums over samples, under every
/// convention: accuracy, accuracy_top5, nll, brier, ece, ece_max, ece_classwise (registry.hpp says
/// what they are). ece_equal_mass and aurc need sorted confidences and are elsewhere
/// (reliability.hpp, ranking_values.hpp).
class Classification {
 public:
  /// classwise: whether ece_classwise is computed, at N x C additions and 15 x C bins of state.
  /// Error::kUsage for classes < 1.
  explicit Classification(int64_t classes, bool classwise = true);
  /// logits [N >= 1, C] f32 or f64, any device: those that the predictor predicts with (for mean
  /// probabilities, their logarithm). labels [N] i64. Each call is one batch for nll under sdde and
  /// openood; nothing else depends on the batches.
  void update(const at::Tensor& logits, const at::Tensor& labels);
  /// Error::kUsage for another number of classes, or if only one of the two is classwise.
  void merge(const Classification& other);
  /// The metric under the convention.
  /// Throws Error::kUsage for one that is not among the above or that the convention does not
  /// define; Error::kData without samples.
  double finish(const std::string& metric, Convention convention = Convention::kSklearn) const;
  /// Reliability diagram of 15 bins under a convention (sklearn, sdde, openood, torch_uncertainty;
  /// sed is Error::kUsage).
  const Reliability& reliability(Convention convention = Convention::kSklearn) const;
  int64_t samples() const { return accuracy_.total(); }

  /// Flat i64 on the CPU: sums of these are merges. from_state: into this one, made with the same
  /// arguments.
  at::Tensor state() const;
  void from_state(const at::Tensor& state);

 private:
  int64_t classes_;
  bool has_classwise_;
  Accuracy accuracy_, top5_;
  ExactMean nll_, batch_nll_, brier_;
  Reliability closed_{15, TopBin::kClosed}, dropped_{15, TopBin::kDropped}, own_{15, TopBin::kOwn},
      of_logits_{15, TopBin::kDropped};
  ClasswiseReliability classwise_;
};

}  // namespace dissent::metrics
