#include <dissent/scores/imagenet_subset.hpp>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>

#include <fmt/ranges.h>

#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

constexpr std::string_view kImagenetClassTable =
#include "imagenet_classes.inc"
    ;
// Columns of the file.
constexpr size_t kWnid = 1, kInA = 2, kInR = 3, kIn9 = 4, kHuman = 5, kColumns = 6;

// The subsets in the order of the docs.
struct SubsetColumn {
  const char* name;
  size_t column;
  bool categories;  // the column has a category of each class, else 1 for the classes of the subset
};
constexpr SubsetColumn kSubsets[] = {{"imagenet_a", kInA, false},
                                     {"imagenet_r", kInR, false},
                                     {"imagenet9", kIn9, true},
                                     {"human16", kHuman, true}};

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  for (size_t at = 0; at <= line.size();) {
    const auto end = std::min(line.find(',', at), line.size());
    cells.emplace_back(line.substr(at, end - at));
    at = end + 1;
  }
  return cells;
}

std::vector<std::vector<std::string>> imagenet_rows() {
  std::vector<std::vector<std::string>> rows;
  for (size_t at = kImagenetClassTable.find('\n') + 1; at < kImagenetClassTable.size();) {
    const auto end = std::min(kImagenetClassTable.find('\n', at), kImagenetClassTable.size());

    // The first line has the names of the columns. Rows are numbered, so a lost row is noticed.
    rows.push_back(cells_of(kImagenetClassTable.substr(at, end - at)));
    DISSENT_CHECK(
        rows.back().size() == kColumns && rows.back()[0] == std::to_string(rows.size() - 1),
        kInternal, "imagenet_classes.csv: row {}: expected {} columns and its number, found {}",
        rows.size(), kColumns, fmt::join(rows.back(), ","));
    at = end + 1;
  }
  DISSENT_CHECK(static_cast<int64_t>(rows.size()) == kImagenetClasses, kInternal,
                "imagenet_classes.csv: expected {} rows, found {}", kImagenetClasses, rows.size());
  return rows;
}

ImagenetSubset subset_of_classes(const std::string& name,
                                 const std::vector<std::vector<std::string>>& rows, size_t column) {
  // Outputs of the subset are numbered in class order; classes outside have output -1.
  ImagenetSubset subset{name, at::full({kImagenetClasses}, -1, at::kLong), {}, false};
  for (int64_t c = 0; c < kImagenetClasses; ++c) {
    if (rows[c][column] != "1") continue;
    subset.output_of_class[c] = static_cast<int64_t>(subset.outputs.size());
    subset.outputs.push_back(rows[c][kWnid]);
  }
  return subset;
}

// Categories in the order of their names; empty and -1 are none.
ImagenetSubset subset_of_categories(const std::string& name,
                                    const std::vector<std::vector<std::string>>& rows,
                                    size_t column) {
  std::set<std::string> names;
  for (const auto& row : rows)
    if (!row[column].empty() && row[column] != "-1") names.insert(row[column]);
  ImagenetSubset subset{
      name, at::full({kImagenetClasses}, -1, at::kLong), {names.begin(), names.end()}, true};
  for (int64_t c = 0; c < kImagenetClasses; ++c) {
    const auto found = std::find(subset.outputs.begin(), subset.outputs.end(), rows[c][column]);
    if (found != subset.outputs.end()) subset.output_of_class[c] = found - subset.outputs.begin();
  }
  return subset;
}

std::vector<ImagenetSubset> all_subsets() {
  const auto rows = imagenet_rows();
  std::vector<ImagenetSubset> subsets;
  for (const auto& [name, column, categories] : kSubsets)
    subsets.push_back(categories ? subset_of_categories(name, rows, column)
                                 : subset_of_classes(name, rows, column));
  return subsets;
}

at::Tensor masked_softmax(const at::Tensor& outputs, InputKind kind, const ImagenetSubset& subset) {
  const auto output_of_class = subset.output_of_class.to(outputs.device());
  const auto kept = output_of_class.ge(0).nonzero().squeeze(1);

  // Probabilities within the subset sum to 1; a row without mass in the subset stays 0.
  auto p = outputs.index_select(-1, kept);
  if (kind == InputKind::kLogits) {
    p = at::softmax(p, -1);
  } else {
    const auto sum = p.sum(-1, true);
    p = p / sum.masked_fill(sum.eq(0), 1);
  }

  // A category gets the sum over its classes.
  if (!subset.categories) return p;
  auto sizes = outputs.sizes().vec();
  sizes.back() = static_cast<int64_t>(subset.outputs.size());
  return at::zeros(sizes, p.options()).index_add(-1, output_of_class.index_select(0, kept), p);
}

}  // namespace

const std::vector<std::string>& imagenet_subset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& subset : kSubsets) all.emplace_back(subset.name);
    return all;
  }();
  return names;
}

const ImagenetSubset& imagenet_subset(const std::string& name) {
  static const std::vector<ImagenetSubset> subsets = all_subsets();
  for (const auto& subset : subsets)
    if (subset.name == name) return subset;
  DISSENT_FAIL(kUsage, "class subset: expected one of {}, found '{}'",
               fmt::join(imagenet_subset_names(), ", "), name);
}

at::Tensor subset_outputs(const at::Tensor& outputs, InputKind kind, const ImagenetSubset& subset,
                          SubsetRule rule) {
  DISSENT_CHECK(outputs.defined() && outputs.dim() >= 1 && outputs.size(-1) == kImagenetClasses &&
                    (outputs.scalar_type() == at::kFloat || outputs.scalar_type() == at::kDouble),
                kUsage, "subset_outputs: outputs: expected [..., {}] of f32 or f64, found {}",
                kImagenetClasses, describe(outputs));
  if (rule == SubsetRule::kMaskedSoftmax) return masked_softmax(outputs, kind, subset);

  // As in SED's release: members vote for single classes, categories get mean probabilities.
  const auto output_of_class = subset.output_of_class.to(outputs.device());
  if (!subset.categories) return votes_in_subset(outputs, output_of_class.ge(0));
  return category_means(
      outputs, kind, category_mask(output_of_class, static_cast<int64_t>(subset.outputs.size())));
}

at::Tensor subset_labels(const at::Tensor& labels, const ImagenetSubset& subset) {
  check_labels("subset_labels", "labels", labels, labels.defined() ? labels.numel() : 0,
               kImagenetClasses, labels.defined() ? labels.device() : at::Device(at::kCPU));
  return subset.output_of_class.to(labels.device()).index_select(0, labels);
}

}  // namespace dissent::scores
