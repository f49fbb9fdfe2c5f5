#include "data/options.hpp"

#include "data/datasets/registry.hpp"
#include "data/transforms/transform.hpp"

namespace dissent {
namespace {

std::string dataset_names() {
  std::vector<std::string> names;
  for (const auto& spec : dataset_table()) names.push_back(spec.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names{"none"};
  for (const auto& spec : transform_table()) names.push_back(spec.name);
  return names;
}

// A whole number or a string, kept as text.
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

}  // namespace

const TableSpec& cache_table() {
  using T = CacheOptions;
  static const TableSpec table =
      TableOf<T>("cache", "The feature cache that is written")
          .option("output", &T::output,
                  {.meaning = "folder, NAME.cache", .scope = Scope::kExecution})
          .option("passes", &T::passes, {.meaning = "augmented copies of the set", .min = 1})
          .option("dtype", &T::dtype,
                  {.meaning = "of the features in the file", .choices = {"f32", "f16", "bf16"}})
          .option("shard_rows", &T::shard_rows,
                  {.meaning = "rows a file", .scope = Scope::kExecution, .min = 1});
  return table;
}

const TableSpec& image_data_table() {
  using T = ImageDataOptions;
  static const TableSpec table = [] {
    auto made = TableOf<T>("data", "The set that is cached");
    made.option("dataset", &T::dataset,
                {.meaning = "a registered set (" + dataset_names() +
                            "); with a list, only the set's name; empty: of a list its file's "
                            "name, else fashion_mnist"})
        .option("root", &T::root,
                {.meaning =
                     "its folder, below which a list's paths lie; empty: where its package puts it",
                 .scope = Scope::kExecution})
        .option("split", &T::split,
                {.meaning = "part of the set: train or test; of cifar10_c and cifar100_c "
                            "CORRUPTION/SEVERITY, as fog/3; of folder a folder below root"})
        .option(
            "list", &T::list,
            {.meaning =
                 "file of lines `path label`: the images of the set; empty: the set's own files"})
        .option("labels", &T::labels,
                {.meaning =
                     "false writes -1 (unknown), as for sets that are only ever unknown inputs"});
    made.options.push_back(
        rows_option("part of the set: a number, the first ones, or a slice as \"0:55000\", "
                    "\"-5000:\"; empty: all; of synthetic the rows a pass, empty: 60000"));
    made.option("dim", &T::dim, {.meaning = "of synthetic: features a row", .min = 1})
        .option("classes", &T::classes,
                {.meaning = "number of classes; auto: of synthetic 1000, of a folder its "
                            "subfolders, of a list those of its class file, else the highest label "
                            "+ 1, of other sets their own",
                 .min = 1})
        .option("ignore_label", &T::ignore_label, {.meaning = kIgnoreLabelMeaning, .word = "none"})
        .option("allow_empty", &T::allow_empty, {.meaning = kAllowEmptyMeaning})
        .option("background", &T::background, {.meaning = kBackgroundMeaning})
        .option("seed", &T::seed,
                {.meaning = "of all draws: of the transform, of random weights, of synthetic's "
                            "rows and classes",
                 .min = 0,
                 .max = kAnyInteger})
        .option("transform", &T::transform,
                {.meaning = "what makes a network's input of an image; pass p of the cache has "
                            "draws of its own, keyed by seed, p and row",
                 .choices = transform_names()})
        .option("workers", &T::workers,
                {.meaning = "threads a rank that decode and transform in the background; 0: on the "
                            "rank's own threads between forward passes",
                 .scope = Scope::kExecution,
                 .min = 0,
                 .max = 256})
        .option("prefetch", &T::prefetch,
                {.meaning = "batches ahead that the workers prepare",
                 .scope = Scope::kExecution,
                 .min = 1,
                 .max = 64});
    return made;
  }();
  return table;
}

}  // namespace dissent
