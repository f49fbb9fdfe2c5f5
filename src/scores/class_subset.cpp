#include <dissent/scores/class_subset.hpp>

#include <cstdint>

#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

void check_rows(const char* function, const at::Tensor& rows) {
  DISSENT_CHECK(rows.defined() && rows.dim() >= 1 && rows.size(-1) >= 1 &&
                    (rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kDouble),
                kUsage, "{}: outputs: expected [..., C >= 1] of f32 or f64, found {}", function,
                describe(rows));
}

}  // namespace

at::Tensor votes_in_subset(const at::Tensor& outputs, const at::Tensor& mask) {
  check_rows("votes_in_subset", outputs);
  const bool fits = mask.defined() && mask.dim() == 1 && mask.size(0) == outputs.size(-1) &&
                    mask.scalar_type() == at::kBool && mask.device() == outputs.device();
  DISSENT_CHECK(fits, kUsage, "votes_in_subset: mask: expected [{}] Bool {}, found {}",
                outputs.size(-1), outputs.device().str(), describe(mask));

  const auto kept = mask.nonzero().squeeze(1);
  DISSENT_CHECK(kept.size(0) > 0, kUsage,
                "votes_in_subset: mask: expected at least one class, found none");

  // One-hot votes for the classes of the mask; a vote for another class gives zeros.
  return outputs.argmax(-1, true).eq(kept).to(outputs.scalar_type());
}

at::Tensor category_means(const at::Tensor& outputs, InputKind kind, const at::Tensor& categories) {
  check_rows("category_means", outputs);
  const bool fits = categories.defined() && categories.dim() == 2 && categories.size(0) >= 1 &&
                    categories.size(1) == outputs.size(-1) &&
                    categories.scalar_type() == at::kBool &&
                    categories.device() == outputs.device();
  DISSENT_CHECK(fits, kUsage, "category_means: categories: expected [K >= 1, {}] Bool {}, found {}",
                outputs.size(-1), outputs.device().str(), describe(categories));

  const auto count = categories.sum(1);
  const auto empty = count.eq(0).sum().item<int64_t>();
  DISSENT_CHECK(
      empty == 0, kUsage,
      "category_means: categories: expected at least one class in each, found {} without any",
      empty);

  // A matrix product with rows of 1 / size gives the means of all categories.
  const auto weights = categories.to(outputs.scalar_type()) / count.unsqueeze(1);
  return at::matmul(probabilities(outputs, kind), weights.t());
}

at::Tensor category_mask(const at::Tensor& class_to_category, int64_t categories) {
  DISSENT_CHECK(categories >= 1, kUsage, "category_mask: categories: expected 1 or more, found {}",
                categories);
  check_labels("category_mask", "class_to_category", class_to_category,
               class_to_category.defined() ? class_to_category.numel() : 0, categories,
               class_to_category.defined() ? class_to_category.device() : at::Device(at::kCPU), -1);

  // Row k marks the classes of category k; -1 matches none.
  return class_to_category.unsqueeze(0).eq(
      at::arange(categories, class_to_category.options()).unsqueeze(1));
}

at::Tensor subset_predictions(const at::Tensor& rows) {
  check_rows("subset_predictions", rows);
  // The argmax of zeros would be class 0.
  return rows.argmax(-1).masked_fill(rows.eq(0).all(-1), -1);
}

at::Tensor subset_confidence(const at::Tensor& rows) {
  check_rows("subset_confidence", rows);
  return rows.amax(-1);
}

}  // namespace dissent::scores
