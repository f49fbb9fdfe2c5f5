#include <dissent/scores/shaping.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

bool is_floating(const at::Tensor& values) {
  return values.defined() &&
         (values.scalar_type() == at::kFloat || values.scalar_type() == at::kDouble);
}

void check_features(const char* function, const at::Tensor& features) {
  DISSENT_CHECK(is_floating(features) && features.dim() >= 1 && features.size(-1) >= 1, kUsage,
                "{}: features: expected [.., D >= 1] of f32 or f64, found {}", function,
                describe(features));
}

void check_percentile(const char* function, double p) {
  check_range(function, "percentile", p, 0, 100);
}

// numpy's order: the order statistics around p / 100 (n - 1), joined from the nearer end.
template <class T>
double percentile_of(T* values, int64_t n, double p) {
  // An order statistic is undefined with NaN.
  const int64_t bad = std::count_if(values, values + n, [](T value) { return std::isnan(value); });
  DISSENT_CHECK(bad == 0, kData, "percentile: values: expected numbers, found {} of {} NaN", bad,
                n);

  // Interpolates between two neighbouring order statistics, with numpy's rounding.
  const double place = p / 100 * static_cast<double>(n - 1);
  const auto below = std::min(static_cast<int64_t>(place), n - 1);
  const double part = place - static_cast<double>(below);

  // After nth_element all later values are at least values[below], so their minimum is the next
  // order statistic: no sort is needed.
  std::nth_element(values, values + below, values + n);
  const double low = values[below];

  if (part == 0) return low;
  const double high = *std::min_element(values + below + 1, values + n);
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

struct Kept {
  at::Tensor values, indices;  ///< [.., k]
};

Kept largest(const char* function, const at::Tensor& features, double p) {
  check_features(function, features);
  const auto [values, indices] = features.topk(kept_count(features.size(-1), p), -1, true, false);
  return {values, indices};
}

at::Tensor scatter(const at::Tensor& features, const at::Tensor& indices,
                   const at::Tensor& values) {
  return at::zeros_like(features).scatter_(-1, indices, values);
}

// exp(sum of all / sum of the k largest), [.., 1].
at::Tensor scale_factor(const at::Tensor& features, const at::Tensor& kept) {
  // exp() of more than this would overflow to infinity in the type of the features.
  const double most = features.scalar_type() == at::kFloat ? 80 : 600;
  const auto all = features.sum(-1, true), part = kept.sum(-1, true);
  const auto none = part.eq(0);
  return (all / part.masked_fill(none, 1)).masked_fill(none, 0).clamp_max(most).exp();
}

}  // namespace

double percentile(const at::Tensor& values, double p) {
  check_percentile("percentile", p);
  DISSENT_CHECK(is_floating(values) && values.numel() >= 1, kUsage,
                "percentile: values: expected one or more of f32 or f64, found {}",
                describe(values));

  // A copy: the order statistics are found in place.
  const auto copy = values.detach().reshape({-1}).clone().cpu();
  if (copy.scalar_type() == at::kFloat)
    return percentile_of(copy.data_ptr<float>(), copy.numel(), p);
  return percentile_of(copy.data_ptr<double>(), copy.numel(), p);
}

at::Tensor react_threshold(const at::Tensor& features, double p, bool per_member) {
  check_outputs("react_threshold", "features", features, 1);
  const auto options = features.options().dtype(at::kDouble);
  if (!per_member) return at::full({1}, percentile(features, p), options);

  // One threshold per member, from its own features only.
  std::vector<double> thresholds;
  for (int64_t m = 0; m < features.size(0); ++m) thresholds.push_back(percentile(features[m], p));
  return at::tensor(thresholds, at::kDouble).to(options.device());
}

at::Tensor react(const at::Tensor& features, double threshold) {
  check_features("react", features);
  return features.clamp_max(threshold);
}

at::Tensor react(const at::Tensor& features, const at::Tensor& threshold) {
  check_outputs("react", "features", features, 1, 0);
  const bool fits = is_floating(threshold) && threshold.dim() == 1 &&
                    (threshold.size(0) == 1 || threshold.size(0) == features.size(0)) &&
                    threshold.device() == features.device();
  DISSENT_CHECK(fits, kUsage,
                "react: threshold: expected [1] or [{}] of f32 or f64 on {}, found {}",
                features.size(0), features.device().str(), describe(threshold));

  // One threshold for all members, or one for each: [1] or [M] against [M, B, D].
  return at::minimum(features, threshold.to(features.scalar_type()).view({-1, 1, 1}));
}

int64_t kept_count(int64_t dimension, double p) {
  check_percentile("kept_count", p);

  // nearbyint rounds halves to even, as numpy's round does.
  return dimension - static_cast<int64_t>(std::nearbyint(static_cast<double>(dimension) * p / 100));
}

at::Tensor ash_p(const at::Tensor& features, double p) {
  const auto kept = largest("ash_p", features, p);
  return scatter(features, kept.indices, kept.values);
}

at::Tensor ash_b(const at::Tensor& features, double p) {
  const auto kept = largest("ash_b", features, p);
  const auto k = kept.indices.size(-1);

  // k = 0 keeps nothing; the quotient is then not used.
  const auto fill = features.sum(-1, true) / static_cast<double>(std::max<int64_t>(k, 1));
  return scatter(features, kept.indices, fill.expand(kept.indices.sizes()));
}

at::Tensor ash_s(const at::Tensor& features, double p) {
  const auto kept = largest("ash_s", features, p);
  return scatter(features, kept.indices, kept.values * scale_factor(features, kept.values));
}

at::Tensor scale(const at::Tensor& features, double p) {
  const auto kept = largest("scale", features, p);
  return features * scale_factor(features, kept.values);
}

at::Tensor vra(const at::Tensor& features, double low, double high) {
  check_features("vra", features);
  DISSENT_CHECK(low <= high, kUsage, "vra: low: expected at most high ({}), found {}", high, low);
  return features.clamp(low, high);
}

at::Tensor head_logits(const at::Tensor& features, const at::Tensor& weight,
                       const at::Tensor& bias) {
  check_features("head_logits", features);
  const auto rank = features.dim();

  // Rank 2 is one network; rank 3 is a stack of M members, each with its own head.
  const auto same = [&](const at::Tensor& t) {
    return t.defined() && t.scalar_type() == features.scalar_type() &&
           t.device() == features.device();
  };
  const bool fits =
      (rank == 2 || rank == 3) && same(weight) && weight.dim() == rank &&
      weight.size(-1) == features.size(-1) && same(bias) && bias.dim() == rank - 1 &&
      bias.size(-1) == weight.size(-2) &&
      (rank == 2 || (weight.size(0) == features.size(0) && bias.size(0) == features.size(0)));
  DISSENT_CHECK(
      fits, kUsage,
      "head_logits: weight and bias: expected [C, {0}] and [C], or [M, C, {0}] and [M, C], "
      "for features {1}, found {2} and {3}",
      features.size(-1), describe(features), describe(weight), describe(bias));

  // Per member, or for one network: h W^T + b.
  return at::matmul(features, weight.transpose(-1, -2)) + bias.unsqueeze(-2);
}

}  // namespace dissent::scores
