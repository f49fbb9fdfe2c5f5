#include "evaluate/outputs/columns.hpp"

#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include <dissent/error.hpp>

namespace dissent {
namespace {

const char* kind_text(ColumnKind kind) {
  switch (kind) {
    case ColumnKind::kCorrect: return "correct";
    case ColumnKind::kCorrectTop5: return "correct in top 5";
    case ColumnKind::kNll: return "nll";
    case ColumnKind::kBrier: return "brier";
    case ColumnKind::kConfidence: return "confidence";
    case ColumnKind::kCovered: return "covered";
    case ColumnKind::kSetSize: return "set size";
    case ColumnKind::kClasswiseError: return "ece_classwise";
    case ColumnKind::kScore: return "score";
    case ColumnKind::kDiversity: return "diversity";
  }
  DISSENT_FAIL(kInternal, "column kind {} has no text", static_cast<int>(kind));
}

}  // namespace

std::string ColumnKey::text() const {
  const char* const scaled = scaling == Scaling::kTemperature ? " after temperature"
                             : scaling == Scaling::kVector    ? " after vector scaling"
                                                              : "";
  return fmt::format("{} {} {}{}", predictor, kind_text(kind), score, scaled);
}

SetColumns::SetColumns(const std::vector<ColumnKey>& keys, at::Tensor values)
    : rows_(values.size(1)) {
  for (size_t i = 0; i < keys.size(); ++i) columns_[keys[i]] = values[static_cast<int64_t>(i)];
}

at::Tensor SetColumns::at(const ColumnKey& key) const {
  const auto found = columns_.find(key);
  DISSENT_CHECK(found != columns_.end(), kInternal, "column '{}' was not computed", key.text());
  return found->second;
}

void SetColumns::add(const ColumnKey& key, at::Tensor values) {
  rows_ = values.size(0);
  columns_[key] = std::move(values);
}

void SetColumns::append(const SetColumns& more) {
  // Only columns that both sets have remain, and no metric that was computed from one pass as a
  // whole (ece_classwise): it cannot be joined.
  std::erase_if(columns_, [&](const auto& column) {
    return single_values_.contains(column.first) || !more.has(column.first);
  });
  single_values_.clear();
  for (auto& [key, values] : columns_) values = at::cat({values, more.at(key)});
  rows_ += more.rows_;
}

void SetColumns::add_value(const ColumnKey& key, double value) {
  // Kept apart from columns of rows, because append() cannot join it.
  columns_[key] = at::full({1}, value, at::kDouble);
  single_values_.insert(key);
}

}  // namespace dissent
