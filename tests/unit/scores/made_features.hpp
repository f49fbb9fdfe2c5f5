#pragma once
#include <dissent/scores/postprocessor.hpp>
#include <dissent/scores/shaping.hpp>

#include "finite_difference.hpp"

namespace dissent::testing {

/// A small network's cached outputs, the same on every machine: non-negative features around a centre for each class, a head that reads them (so that most
/// predictions are right), and samples of no class: each around a centre of its own.
struct MadeFeatures {
  static constexpr int64_t kClasses = 5, kDimension = 20, kTrain = 150, kValidation = 60, kTest = 40;

  at::Tensor centres = made_logits(1, kClasses, kDimension, 2.0, 1)[0];
  scores::LinearHead head{centres * 0.3, made_logits(1, 1, kClasses, 0.1, 2)[0][0]};
  scores::FeatureSet train = set(kTrain, 3), validation = set(kValidation, 4), test = set(kTest, 5);
  scores::FeatureSet ood = outliers(kTest, 6);

  scores::FitData data() const { return {train, validation, head, {}}; }

  static scores::FitData to(const scores::FitData& data, at::ScalarType dtype) {
    const auto convert = [&](const scores::FeatureSet& s) { return scores::FeatureSet{s.features.to(dtype), s.logits.to(dtype), s.labels}; };
    return {convert(data.train), convert(data.validation), {data.head.weight.to(dtype), data.head.bias.to(dtype)}, data.order};
  }

 private:
  scores::FeatureSet with_logits(const at::Tensor& features, const at::Tensor& labels) const {
    return {features, scores::head_logits(features, head.weight, head.bias), labels};
  }
  scores::FeatureSet set(int64_t rows, uint64_t seed) const {
    const auto labels = at::arange(rows, at::kLong).remainder(kClasses);
    return with_logits((centres.index_select(0, labels) + made_logits(1, rows, kDimension, 1.0, seed)[0]).clamp_min(0), labels);
  }
  scores::FeatureSet outliers(int64_t rows, uint64_t seed) const {
    return with_logits(made_logits(1, rows, kDimension, 1.5, seed)[0].clamp_min(0), at::full({rows}, -1, at::kLong));
  }
};

}  // namespace dissent::testing
