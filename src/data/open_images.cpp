#include "data/open_images.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/edited_text.hpp"
#include "data/datasets/image_list.hpp"
#include "data/datasets/registry.hpp"
#include "data/images/decode.hpp"
#include "data/row_range.hpp"

namespace dissent {

std::string set_name(const ImageDataOptions& options) {
  if (!options.dataset.empty()) return options.dataset;
  if (!options.list.empty()) return std::filesystem::path(options.list).stem().string();
  return kDefaultDataset;
}

ImagePlace check_image_source(const ImageDataOptions& options) {
  // Raises for a background that is not a colour; its value is not needed here.
  background_of(options.background);
  if (!options.list.empty()) return {options.list, options.root, ""};

  // A registered set: its classes, folder and split have to fit.
  const auto& spec = find_dataset(set_name(options));
  DISSENT_CHECK(spec.open, kUsage,
                "dataset {}: expected images, found features, which need trunk.model = \"none\"",
                spec.name);
  DISSENT_CHECK(spec.classes == 0 || options.classes.value_or(spec.classes) == spec.classes, kUsage,
                "classes: expected {} (dataset {}) or \"auto\", found {}", spec.classes, spec.name,
                *options.classes);
  const std::string folder = options.root.empty() ? spec.default_root : options.root;
  DISSENT_CHECK(!folder.empty(), kUsage,
                "data.root: expected a folder for dataset {}, found none: {}", spec.name,
                spec.obtain);
  DISSENT_CHECK(spec.splits.empty() || std::find(spec.splits.begin(), spec.splits.end(),
                                                 options.split) != spec.splits.end(),
                kUsage, "data.split: expected one of {2} (dataset {0}), found '{1}'", spec.name,
                options.split, fmt::join(spec.splits, ", "));
  return {"", folder, spec.obtain};
}

std::unique_ptr<ImageSource> open_image_source(const ImageDataOptions& options) {
  const auto place = check_image_source(options);
  if (!options.list.empty()) return open_image_list(options);
  const auto& spec = find_dataset(set_name(options));
  return spec.open(spec, place.folder, options);
}

std::unique_ptr<ImageSource> open_images(const ImageDataOptions& options) {
  // Gaps are looked for in the whole set, before rows are chosen: a range may well lack classes.
  auto set = open_image_source(options);
  if (options.labels) check_class_gaps(*set, options);

  // A plain number N stands for the first N rows.
  const bool number =
      !options.rows.empty() && options.rows.find_first_not_of("0123456789") == std::string::npos;
  return rows_of_source(std::move(set), number ? ":" + options.rows : options.rows);
}

void check_class_gaps(const ImageSource& source, const ImageDataOptions& options) {
  // Registered sets, class files and data.classes give the number of classes: only the highest
  // label of a plain list has to be guessed from.
  if (options.list.empty() || options.classes || !source.class_names().empty()) return;
  const auto present = std::get<0>(at::_unique(source.labels(), true));
  const auto* labels = present.const_data_ptr<int64_t>();

  // Count the classes below the highest label that have no row, and those right below the highest
  // label.
  int64_t expected = 0, without = 0, first_without = -1, below_highest = 0, highest = -1;
  for (int64_t i = 0; i < present.numel(); ++i) {
    if (labels[i] < 0) continue;
    highest = labels[i];
    below_highest = highest - expected;
    without += below_highest;
    if (below_highest > 0 && first_without < 0) first_without = expected;
    expected = highest + 1;
  }
  if (without == 0) return;

  // A few classes without rows are usual in subsets. A highest label far above the others is more
  // likely a mark such as 255 for "ignore".
  constexpr int64_t kFarBelow = 16;
  DISSENT_CHECK(
      2 * without <= highest + 1 && below_highest < kFarBelow, kData,
      "{}: labels: expected rows for each of the classes 0 .. {} (the highest label), found none "
      "for "
      "{} of them (the first: {}); set data.classes = {} if these are classes without rows, or "
      "data.ignore_label = {} to skip rows with that label",
      options.list, highest, without, first_without, highest + 1, highest);
  warn_once(fmt::format("event=classes_without_rows list={} classes={} without={} first={}",
                        options.list, highest + 1, without, first_without));
}

void check_same_classes(const ImageSource& source, const std::vector<std::string>& names,
                        const std::string& of) {
  const auto& own = source.class_names();
  if (own.empty() || names.empty() || own == names) return;

  // The first class that differs says more than two long lists.
  size_t at = 0;
  while (at < std::min(own.size(), names.size()) && own[at] == names[at]) ++at;
  const auto name = [&](const std::vector<std::string>& list) {
    return at < list.size() ? "\"" + list[at] + "\"" : std::string("nothing");
  };
  DISSENT_FAIL(kData,
               "{}: classes: expected the numbering of {}: class {}: expected {}, found {} ({} "
               "classes there, {} here); use one class file for both (dissent imglist --classes)",
               source.name(), of, at, name(names), name(own), names.size(), own.size());
}

}  // namespace dissent
