#include "scores/fit_data.hpp"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include <dissent/scores/shaping.hpp>

#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

bool is_matrix(const at::Tensor& t) {
  return t.defined() && t.dim() == 2 && t.size(0) >= 1 && t.size(1) >= 1 &&
         (t.scalar_type() == at::kFloat || t.scalar_type() == at::kDouble);
}

void check_finite(const char* name, const char* set_name, const char* what,
                  const at::Tensor& rows) {
  const int64_t bad = count_not_finite(rows);
  DISSENT_CHECK(bad == 0, kData, "{}: {} {}: expected finite values, found {} that are not", name,
                set_name, what, bad);
}

}  // namespace

at::Tensor checked_features(const char* name, const char* set_name, const FeatureSet& set) {
  DISSENT_CHECK(is_matrix(set.features), kUsage,
                "{}: {} features: expected [N >= 1, D >= 1] of f32 or f64, found {}", name,
                set_name, describe(set.features));
  const auto features = set.features.detach();
  check_finite(name, set_name, "features", features);
  return features;
}

at::Tensor checked_logits(const char* name, const char* set_name, const FeatureSet& set,
                          const LinearHead& head) {
  // Logits follow from features and head, block by block.
  if (!set.logits.defined() && set.features.defined() && head.weight.defined()) {
    const auto features = checked_features(name, set_name, set);
    const auto wide = checked_head(name, head, features.size(1));
    auto logits = at::empty({features.size(0), wide.weight.size(0)}, features.options());
    for_blocks(features, kBlockRows, [&](const at::Tensor& block, int64_t first) {
      logits.narrow(0, first, block.size(0)).copy_(head_logits(block, wide.weight, wide.bias));
    });
    return logits;
  }

  // Otherwise the given logits, which must belong to the same samples as the features.
  DISSENT_CHECK(is_matrix(set.logits), kUsage,
                "{}: {} logits: expected [N >= 1, C >= 1] of f32 or f64, found {}", name, set_name,
                describe(set.logits));
  const bool same_rows = !set.features.defined() || (set.features.size(0) == set.logits.size(0) &&
                                                     set.features.device() == set.logits.device());
  DISSENT_CHECK(same_rows, kUsage,
                "{}: {} logits: expected as many rows as the features {}, found {}", name, set_name,
                describe(set.features), describe(set.logits));

  const auto logits = set.logits.detach();
  check_finite(name, set_name, "logits", logits);
  return logits;
}

at::Tensor checked_labels(const char* name, const char* set_name, const FeatureSet& set,
                          int64_t rows, int64_t classes, at::Device device) {
  check_labels(name, fmt::format("{} labels", set_name).c_str(), set.labels, rows, classes, device);
  return set.labels;
}

LinearHead checked_head(const char* name, const LinearHead& head, int64_t dimension) {
  DISSENT_CHECK(is_matrix(head.weight) && head.weight.size(1) == dimension, kUsage,
                "{}: head weight: expected [C >= 1, {}] of f32 or f64, found {}", name, dimension,
                describe(head.weight));

  const bool fits = head.bias.defined() && head.bias.dim() == 1 &&
                    head.bias.size(0) == head.weight.size(0) &&
                    head.bias.scalar_type() == head.weight.scalar_type() &&
                    head.bias.device() == head.weight.device();
  DISSENT_CHECK(fits, kUsage, "{}: head bias: expected [{}] {} {}, found {}", name,
                head.weight.size(0), c10::toString(head.weight.scalar_type()),
                head.weight.device().str(), describe(head.bias));

  // The head is converted to f64 at once; features and logits, which are large, block by block.
  return {head.weight.detach().to(at::kDouble), head.bias.detach().to(at::kDouble)};
}

int64_t class_count(const FitData& data) {
  if (data.head.weight.defined()) return data.head.weight.size(0);
  if (data.train.logits.defined()) return data.train.logits.size(-1);

  // The largest label is a lower bound: classes above it have no training samples anyway.
  const auto& labels = data.train.labels;
  return labels.defined() && labels.numel() > 0 ? labels.max().item<int64_t>() + 1 : 1;
}

void for_blocks(const at::Tensor& rows, int64_t block_rows,
                const std::function<void(const at::Tensor&, int64_t)>& f) {
  for (int64_t first = 0; first < rows.size(0); first += block_rows)
    f(rows.narrow(0, first, std::min(block_rows, rows.size(0) - first)).to(at::kDouble), first);
}

}  // namespace dissent::scores
