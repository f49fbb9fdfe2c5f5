#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dissent::metrics {

/// Correct classification rate at a false-positive rate (CCR@FPR): the share of all ID samples that
/// are right and score strictly above the ceil(fpr * N_ood)-th largest confidence of the OOD
/// samples. With fpr = 0 the threshold is the smallest OOD confidence, as released.
/// Ref: OpenOOD openood/evaluators/metrics.py ccr_fpr.
class CorrectClassification {
 public:
  /// confidence [N] f32 or f64, larger is more in-distribution; predictions, labels [N] i64, label
  /// -1 is OOD. Same device. NaN is Error::kData.
  void update(const at::Tensor& confidence, const at::Tensor& predictions,
              const at::Tensor& labels);
  void merge(const CorrectClassification& other);
  /// fpr 0 .. 1.
  /// Throws Error::kData without ID or without OOD samples.
  double finish(double fpr) const;

 private:
  std::vector<double> right_, ood_;
  int64_t id_count_ = 0;
};

}  // namespace dissent::metrics
