#include "data/options.hpp"

#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/option_table.hpp"
#include "data/datasets/registry.hpp"
#include "data/datasets/synthetic.hpp"
#include "data/transforms/transform.hpp"
#include "storage/cache_manifest.hpp"

namespace dissent {
namespace {

std::string dataset_names() {
  std::vector<std::string> names;
  for (const auto& spec : dataset_table()) names.push_back(spec.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names{kNoneSelected};
  for (const auto& spec : transform_table()) names.push_back(spec.name);
  return names;
}

Names<at::ScalarType> cache_dtypes() {
  Names<at::ScalarType> names;
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
    names.emplace_back(dtype_name(dtype), dtype);
  return names;
}

// An integer or a string, stored as text.
OptionSpec rows_option(std::string meaning) {
  OptionSpec spec{"rows", "integer or string", "\"\"", {.meaning = std::move(meaning)}, {}, {}};
  spec.assign = [](void* table, const Value& value) {
    return assign_integer_or_string(static_cast<ImageDataOptions*>(table)->rows, value);
  };
  spec.text = [](const void* table) {
    return toml_text(static_cast<const ImageDataOptions*>(table)->rows);
  };
  return spec;
}

using ImageTable = TableOf<ImageDataOptions>;

// Which set and which of its rows.
void add_set_keys(ImageTable& table) {
  // The list of sets in the text comes from their table, so it cannot be out of date.
  using T = ImageDataOptions;
  table
      .option("dataset", &T::dataset,
              {.meaning = fmt::format("a registered set ({}); with a list, only the name of the "
                                      "set; empty: the file name of the list, or {} without a list",
                                      dataset_names(), kDefaultDataset)})
      .option("root", &T::root,
              {.meaning = "folder of the set, to which paths in a list are relative; empty: the "
                          "folder where the set's package installs it",
               .scope = Scope::kExecution})
      .option("split", &T::split,
              {.meaning = "part of the set: train or test; CORRUPTION/SEVERITY for cifar10_c and "
                          "cifar100_c, for example fog/3; a folder below root for folder"})
      .option("list", &T::list,
              {.meaning = "file with one `path label` per line: the images of the set; empty: the "
                          "set's own files"})
      .option("labels", &T::labels,
              {.meaning = "false: write -1 (unknown), for sets that are only used as unknown "
                          "inputs"});
  table.options.push_back(
      rows_option(fmt::format("rows to use: a number (the first ones) or a slice such as "
                              "\"0:55000\" or \"-5000:\"; empty: all; for synthetic: rows per "
                              "pass, empty: {}",
                              kSyntheticRows)));
}

// Shape and labels.
void add_label_keys(ImageTable& table) {
  using T = ImageDataOptions;
  table.option("dim", &T::dim, {.meaning = "for synthetic: features per row", .min = 1})
      .option("classes", &T::classes,
              {.meaning = fmt::format("number of classes; auto: {} for synthetic, the number of "
                                      "subfolders for folder, the class file of a list or else its "
                                      "highest label + 1, for other sets their own",
                                      kSyntheticClasses),
               .min = 1})
      .option("ignore_label", &T::ignore_label, {.meaning = kIgnoreLabelMeaning, .word = "none"})
      .option("allow_empty", &T::allow_empty, {.meaning = kAllowEmptyMeaning})
      .option("background", &T::background, {.meaning = kBackgroundMeaning});
}

// How images become a network's input.
void add_transform_keys(ImageTable& table) {
  // workers and prefetch do not change a pixel: draws are keyed by row (Scope::kExecution).
  using T = ImageDataOptions;
  table
      .option("seed", &T::seed,
              {.meaning = "seed of all random draws: the transform, random weights, the rows and "
                          "classes of synthetic",
               .min = 0,
               .max = kAnyInteger})
      .option(
          "transform", &T::transform,
          {.meaning = "transform from images to a network's input; each pass of the cache has its "
                      "own random draws, keyed by seed, pass and row",
           .choices = transform_names()})
      .option(
          "workers", &T::workers,
          {.meaning = "background threads per rank that decode and transform images; 0: use the "
                      "rank's own threads between forward passes",
           .scope = Scope::kExecution,
           .min = 0,
           .max = 256})
      .option("prefetch", &T::prefetch,
              {.meaning = "number of batches that the workers prepare in advance",
               .scope = Scope::kExecution,
               .min = 1,
               .max = 64});
}

}  // namespace

const TableSpec& cache_table() {
  using T = CacheOptions;
  static const TableSpec table =
      OptionTable<T>("cache", "The feature cache to write")
          .option("output", &T::output,
                  {.meaning = "folder of the cache, NAME.cache", .scope = Scope::kExecution})
          .option("passes", &T::passes,
                  {.meaning = "number of augmented copies of the set", .min = 1})
          .choice("dtype", &T::dtype, cache_dtypes(), "dtype of the features in the file")
          .option("shard_rows", &T::shard_rows,
                  {.meaning = "rows per file", .scope = Scope::kExecution, .min = 1});
  return table;
}

const TableSpec& image_data_table() {
  static const TableSpec table = [] {
    ImageTable made("data", "The set to cache");
    add_set_keys(made);
    add_label_keys(made);
    add_transform_keys(made);
    return made;
  }();
  return table;
}

}  // namespace dissent
