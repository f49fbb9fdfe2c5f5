#pragma once
#include <any>
#include <cstdint>

#include <dissent/scores/postprocessor.hpp>
#include <dissent/scores/shaping.hpp>

#include "finite_difference.hpp"
#include "scores/postprocessors.hpp"

namespace dissent::testing {

/// A small network's cached outputs, the same on every machine: non-negative features around a
/// centre for each class, a head that reads them (so that most predictions are right), and samples
/// of no class: each around a centre of its own.
struct MadeFeatures {
  static constexpr int64_t kClasses = 5, kDimension = 20, kTrain = 150, kValidation = 60,
                           kTest = 40;

  at::Tensor centres = made_logits(1, kClasses, kDimension, 2.0, 1)[0];
  scores::LinearHead head{centres * 0.3, made_logits(1, 1, kClasses, 0.1, 2)[0][0]};
  scores::FeatureSet train = set(kTrain, 3), validation = set(kValidation, 4), test = set(kTest, 5);
  scores::FeatureSet ood = outliers(kTest, 6);

  scores::FitData data() const { return {train, validation, head, {}}; }

  /// The same with features, logits and head of this dtype, all on this device.
  static scores::FitData to(const scores::FitData& data, at::ScalarType dtype,
                            at::Device device = at::kCPU) {
    return {to(data.train, dtype, device),
            to(data.validation, dtype, device),
            {data.head.weight.to(device, dtype), data.head.bias.to(device, dtype)},
            data.order};
  }
  static scores::FeatureSet to(const scores::FeatureSet& set, at::ScalarType dtype,
                               at::Device device = at::kCPU) {
    return {set.features.to(device, dtype), set.logits.to(device, dtype), set.labels.to(device)};
  }

 private:
  scores::FeatureSet with_logits(const at::Tensor& features, const at::Tensor& labels) const {
    return {features, scores::head_logits(features, head.weight, head.bias), labels};
  }
  scores::FeatureSet set(int64_t rows, uint64_t seed) const {
    const auto labels = at::arange(rows, at::kLong).remainder(kClasses);
    return with_logits(
        (centres.index_select(0, labels) + made_logits(1, rows, kDimension, 1.0, seed)[0])
            .clamp_min(0),
        labels);
  }
  scores::FeatureSet outliers(int64_t rows, uint64_t seed) const {
    return with_logits(made_logits(1, rows, kDimension, 1.5, seed)[0].clamp_min(0),
                       at::full({rows}, -1, at::kLong));
  }
};

/// Options that fit 20 features and 150 training samples.
inline std::any small_options(const scores::PostprocessorInfo& info) {
  std::any options = info.default_options;
  const auto set = [&](const char* key, Value value) {
    if (info.options.find(key)) scores::set_option(info, options, key, value);
  };
  set("dim", int64_t{8});
  if (info.name == "knn" || info.name == "nnguide") set("k", int64_t{10});
  if (info.name == "nnguide") set("batch_rows", int64_t{50});
  if (info.name == "cfood") set("alpha", 0.5);
  return options;
}

}  // namespace dissent::testing
