#include <dissent/scores/class_geometry.hpp>

#include <cstdint>

#include "core/tensor_check.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"

namespace dissent::scores {
namespace {

constexpr int64_t kByDifferences = 2;  // cdist without a product

// values / norm, 0 where the norm is 0.
at::Tensor over(const at::Tensor& values, const at::Tensor& norm) {
  const auto none = norm.eq(0);
  return (values / norm.masked_fill(none, 1)).masked_fill(none, 0);
}

}  // namespace

State fit_she(const FitData& data, const SheOptions& options) {
  const auto features = checked_features("she", "training", data.train);
  const auto logits = checked_logits("she", "training", data.train, data.head);
  const auto labels = checked_labels("she", "training", data.train, features.size(0),
                                     logits.size(1), features.device());

  // Wrongly classified samples belong to no class.
  const auto right = labels.masked_fill(logits.argmax(1).ne(labels), -1);
  return {{"patterns", class_means(features, right, logits.size(1)).mean},
          {"metric", at::scalar_tensor(static_cast<int64_t>(options.metric), at::kLong)}};
}

at::Tensor score_she(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  const auto& patterns = from_state("she", state, "patterns");
  const auto metric = static_cast<SheMetric>(count_from_state("she", state, "metric"));
  return score_rows({"she", features, logits, patterns.size(1), patterns.size(0)},
                    [&](const at::Tensor& h, const at::Tensor& z) {
                      // The class is the one that the network predicts, as the label of a test
                      // sample is not known.
                      const auto pattern = patterns.index_select(0, z.argmax(1));
                      if (metric == SheMetric::kCosine) return at::cosine_similarity(h, pattern);
                      return metric == SheMetric::kEuclidean ? (h - pattern).norm(2, {1}).neg()
                                                             : (h * pattern).sum(1);
                    });
}

State fit_fdbd(const FitData& data, const FdbdOptions& options) {
  const auto features = checked_features("fdbd", "training", data.train);
  const auto weight = checked_head("fdbd", data.head, features.size(1)).weight;

  // |w_c - w_y| for all pairs of classes; by differences, so that the diagonal is exactly 0.
  return {{"train_mean", row_mean(features)},
          {"class_distance", at::cdist(weight, weight, 2.0, kByDifferences)},
          {"distance_as_normalizer",
           at::scalar_tensor(static_cast<int64_t>(options.distance_as_normalizer), at::kLong)}};
}

at::Tensor score_fdbd(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  const auto &mean = from_state("fdbd", state, "train_mean"),
             &distance = from_state("fdbd", state, "class_distance");
  const bool centred = count_from_state("fdbd", state, "distance_as_normalizer") != 0;
  return score_rows(
      {"fdbd", features, logits, mean.size(0), distance.size(0)},
      [&](const at::Tensor& h, const at::Tensor& z) {
        const auto [top, predicted] = z.max(1, true);

        // Distance to the boundary with each other class: difference of logits over that of
        // weights.
        const auto boundaries =
            over((z - top).abs(), distance.index_select(0, predicted.squeeze(1))).sum(1);
        return over(boundaries, (centred ? h - mean : h).norm(2, {1}));
      });
}

State fit_nci(const FitData& data, const NciOptions& options) {
  const auto features = checked_features("nci", "training", data.train);
  DISSENT_CHECK(options.alpha >= 0, kUsage, "nci: alpha: expected 0 or more, found {}",
                options.alpha);
  return {{"train_mean", row_mean(features)},
          {"weight", checked_head("nci", data.head, features.size(1)).weight},
          {"alpha", at::scalar_tensor(options.alpha, at::kDouble)}};
}

at::Tensor score_nci(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  const auto &mean = from_state("nci", state, "train_mean"),
             &weight = from_state("nci", state, "weight");
  const double alpha = number_from_state("nci", state, "alpha");
  return score_rows({"nci", features, logits, mean.size(0), weight.size(0)},
                    [&](const at::Tensor& h, const at::Tensor& z) {
                      const auto centred = h - mean;
                      return over((weight.index_select(0, z.argmax(1)) * centred).sum(1),
                                  centred.norm(2, {1})) +
                             h.norm(1, {1}) * alpha;
                    });
}

at::Tensor score_gradnorm(const State&, const at::Tensor& features, const at::Tensor& logits) {
  const bool fits = features.defined() && features.dim() == 2 && features.size(1) >= 1;
  DISSENT_CHECK(fits, kUsage, "gradnorm: features: expected [N, D >= 1] of f32 or f64, found {}",
                describe(features));
  return score_rows({"gradnorm", features, logits, features.size(1), -1},
                    [](const at::Tensor& h, const at::Tensor& z) {
                      // The gradient of W is the outer product of C p - 1 and h; its L1 norm is the
                      // product of theirs.
                      const auto p = at::softmax(z, 1);
                      return (p * static_cast<double>(z.size(1)) - 1).abs().sum(1) * h.norm(1, {1});
                    });
}

}  // namespace dissent::scores
