#include <dissent/losses/balanced_rows.hpp>

#include <algorithm>

#include "core/random.hpp"
#include "core/tensor_check.hpp"

namespace dissent::losses {
namespace {

// Added to the step, so that the draw has another key than the order of any chunk of rows.
constexpr uint64_t kBalanced = uint64_t{1} << 32;

}  // namespace

std::vector<std::vector<int64_t>> rows_of_classes(const at::Tensor& labels) {
  const bool fits = labels.defined() && labels.dim() == 1 && labels.numel() > 0 &&
                    labels.scalar_type() == at::kLong && labels.device().is_cpu();
  DISSENT_CHECK(fits, kUsage, "rows_of_classes: labels: expected [N >= 1] Long cpu, found {}",
                describe(labels));

  // Negative labels mark unlabelled or OOD samples, which belong to no class.
  const auto given = labels.contiguous();
  const auto* label = given.const_data_ptr<int64_t>();
  const auto [low, high] = std::minmax_element(label, label + given.numel());
  DISSENT_CHECK(*low >= 0, kUsage,
                "rows_of_classes: labels: expected class numbers from 0, found {}", *low);

  // Classes without a row have an empty list, so that the index is the class.
  std::vector<std::vector<int64_t>> rows(*high + 1);
  for (int64_t row = 0; row < given.numel(); ++row) rows[label[row]].push_back(row);
  return rows;
}

std::vector<int64_t> balanced_rows(const std::vector<std::vector<int64_t>>& rows_of_classes,
                                   int64_t batch_size, int64_t samples_per_class, uint64_t seed,
                                   int64_t epoch, int64_t step) {
  DISSENT_CHECK(
      samples_per_class >= 1 && batch_size >= 1 && batch_size % samples_per_class == 0, kUsage,
      "balanced_rows: batch_size: expected a positive multiple of samples_per_class ({}), found {}",
      samples_per_class, batch_size);

  // Classes that can still be drawn; empty ones cannot.
  std::vector<const std::vector<int64_t>*> left;
  int64_t total = 0;
  for (const auto& rows : rows_of_classes) {
    if (rows.empty()) continue;
    left.push_back(&rows);
    total += static_cast<int64_t>(rows.size());
  }

  const int64_t classes = batch_size / samples_per_class;
  DISSENT_CHECK(classes <= static_cast<int64_t>(left.size()), kUsage,
                "balanced_rows: batch_size: expected at most {} classes of {} samples, found {}",
                left.size(), samples_per_class, batch_size);
  DISSENT_CHECK(total <= UINT32_MAX, kUsage,
                "balanced_rows: rows_of_classes: expected at most {} rows, found {}", UINT32_MAX,
                total);

  Random random(seed, Purpose::kOrder, epoch, kBalanced + step);
  std::vector<int64_t> batch;
  for (int64_t k = 0; k < classes; ++k) {
    // A uniform draw among the rows of the remaining classes chooses a class by its frequency.
    int64_t place = random.below(static_cast<uint32_t>(total));
    size_t c = 0;
    while (place >= static_cast<int64_t>(left[c]->size())) {
      place -= static_cast<int64_t>(left[c]->size());
      ++c;
    }

    // Rows of a class are drawn with replacement: a class may have fewer than samples_per_class.
    const auto& rows = *left[c];
    for (int64_t i = 0; i < samples_per_class; ++i)
      batch.push_back(rows[random.below(static_cast<uint32_t>(rows.size()))]);

    // Each class occurs at most once in a batch.
    total -= static_cast<int64_t>(rows.size());
    left.erase(left.begin() + static_cast<int64_t>(c));
  }
  return batch;
}

}  // namespace dissent::losses
