#include "scores/fit_data.hpp"

#include <dissent/scores/shaping.hpp>
#include <dissent/tensor_check.hpp>

#include "core/parallel.hpp"

namespace dissent::scores {
namespace {

bool is_matrix(const at::Tensor& t) {
  return t.defined() && t.dim() == 2 && t.size(0) >= 1 && t.size(1) >= 1 && (t.scalar_type() == at::kFloat || t.scalar_type() == at::kDouble);
}

void check_finite(const char* name, const char* set_name, const char* what, const at::Tensor& rows) {
  int64_t bad = 0;
  for_blocks(rows, kBlockRows, [&](const at::Tensor& block, int64_t) { bad += block.numel() - block.isfinite().sum().item<int64_t>(); });
  DISSENT_CHECK(bad == 0, kData, "{}: {} {}: wanted finite values, given {} that are not", name, set_name, what, bad);
}

}  // namespace

at::Tensor checked_features(const char* name, const char* set_name, const FeatureSet& set) {
  DISSENT_CHECK(is_matrix(set.features), kUsage, "{}: {} features: wanted [N >= 1, D >= 1] of f32 or f64, given {}", name, set_name,
                describe(set.features));
  const auto features = set.features.detach();
  check_finite(name, set_name, "features", features);
  return features;
}

at::Tensor checked_logits(const char* name, const char* set_name, const FeatureSet& set, const LinearHead& head) {
  if (!set.logits.defined() && set.features.defined() && head.weight.defined()) {
    const auto features = checked_features(name, set_name, set);
    const auto wide = checked_head(name, head, features.size(1));
    auto logits = at::empty({features.size(0), wide.weight.size(0)}, features.options());
    for_blocks(features, kBlockRows, [&](const at::Tensor& block, int64_t first) {
      logits.narrow(0, first, block.size(0)).copy_(head_logits(block, wide.weight, wide.bias));
    });
    return logits;
  }
  DISSENT_CHECK(is_matrix(set.logits), kUsage, "{}: {} logits: wanted [N >= 1, C >= 1] of f32 or f64, given {}", name, set_name,
                describe(set.logits));
  const bool same_rows = !set.features.defined() || (set.features.size(0) == set.logits.size(0) && set.features.device() == set.logits.device());
  DISSENT_CHECK(same_rows, kUsage, "{}: {} logits: wanted a row for each of the features {}, given {}", name, set_name, describe(set.features),
                describe(set.logits));
  const auto logits = set.logits.detach();
  check_finite(name, set_name, "logits", logits);
  return logits;
}

at::Tensor checked_labels(const char* name, const char* set_name, const FeatureSet& set, int64_t rows, int64_t classes, at::Device device) {
  check_labels(name, fmt::format("{} labels", set_name).c_str(), set.labels, rows, classes, device);
  return set.labels;
}

LinearHead checked_head(const char* name, const LinearHead& head, int64_t dimension) {
  DISSENT_CHECK(is_matrix(head.weight) && head.weight.size(1) == dimension, kUsage, "{}: head weight: wanted [C >= 1, {}] of f32 or f64, given {}", name,
                dimension, describe(head.weight));
  const bool fits = head.bias.defined() && head.bias.dim() == 1 && head.bias.size(0) == head.weight.size(0) &&
                    head.bias.scalar_type() == head.weight.scalar_type() && head.bias.device() == head.weight.device();
  DISSENT_CHECK(fits, kUsage, "{}: head bias: wanted [{}] {} {}, given {}", name, head.weight.size(0), c10::toString(head.weight.scalar_type()),
                head.weight.device().str(), describe(head.bias));
  return {head.weight.detach().to(at::kDouble), head.bias.detach().to(at::kDouble)};
}

int64_t class_count(const FitData& data) {
  if (data.head.weight.defined()) return data.head.weight.size(0);
  if (data.train.logits.defined()) return data.train.logits.size(-1);
  const auto& labels = data.train.labels;
  return labels.defined() && labels.numel() > 0 ? labels.max().item<int64_t>() + 1 : 1;
}

void for_blocks(const at::Tensor& rows, int64_t block_rows, const std::function<void(const at::Tensor&, int64_t)>& f) {
  for (int64_t first = 0; first < rows.size(0); first += block_rows)
    f(rows.narrow(0, first, std::min(block_rows, rows.size(0) - first)).to(at::kDouble), first);
}

at::Tensor row_mean(const at::Tensor& rows) {
  auto sum = at::zeros({rows.size(1)}, rows.options().dtype(at::kDouble));
  for_blocks(rows, kBlockRows, [&](const at::Tensor& block, int64_t) { sum += block.sum(0); });
  return sum / static_cast<double>(rows.size(0));
}

ClassMeans class_means(const at::Tensor& rows, const at::Tensor& class_of_row, int64_t classes) {
  const auto options = rows.options().dtype(at::kDouble);
  auto sum = at::zeros({classes + 1, rows.size(1)}, options), count = at::zeros({classes + 1}, options);  // the last is none
  const auto place = class_of_row.masked_fill(class_of_row.lt(0), classes);
  for_blocks(rows, kBlockRows, [&](const at::Tensor& block, int64_t first) {
    const auto of_block = place.narrow(0, first, block.size(0));
    sum.index_add_(0, of_block, block);
    count.index_add_(0, of_block, at::ones({block.size(0)}, options));
  });
  count = count.narrow(0, 0, classes);
  return {sum.narrow(0, 0, classes) / count.clamp_min(1).unsqueeze(1), count};
}

at::Tensor second_moment(const at::Tensor& rows, const std::function<at::Tensor(const at::Tensor&, int64_t)>& centred) {
  constexpr int64_t kStripe = 128;  // columns of a task, each of which reads all rows
  const int64_t d = rows.size(1);
  auto moment = at::zeros({d, d}, rows.options().dtype(at::kDouble));
  const auto stripe = [&](int64_t task) {
    const int64_t first = task * kStripe, count = std::min(kStripe, d - first);
    auto part = at::zeros({d, count}, moment.options());
    for_blocks(rows, kBlockRows, [&](const at::Tensor& block, int64_t at_row) {
      const auto x = centred(block, at_row);
      part.addmm_(x.t(), x.narrow(1, first, count));
    });
    moment.narrow(1, first, count).copy_(part / static_cast<double>(rows.size(0)));
  };
  const int64_t stripes = (d + kStripe - 1) / kStripe;
  if (rows.device().is_cpu()) parallel_tasks(stripes, stripe);
  else for (int64_t i = 0; i < stripes; ++i) stripe(i);
  return (moment + moment.t()) / 2;
}

}  // namespace dissent::scores
