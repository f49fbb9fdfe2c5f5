#include "data/options.hpp"

#include "data/datasets/registry.hpp"

namespace dissent {
namespace {

std::string dataset_names() {
  std::vector<std::string> names;
  for (const auto& spec : dataset_table()) names.push_back(spec.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

const TableSpec& cache_table() {
  using T = CacheOptions;
  static const TableSpec table = TableOf<T>("cache", "The feature cache that is written")
      .option("output", &T::output, {.meaning = "folder, NAME.cache", .scope = Scope::kExecution})
      .option("passes", &T::passes, {.meaning = "augmented copies of the set", .min = 1})
      .option("dtype", &T::dtype, {.meaning = "of the features in the file", .choices = {"f32", "f16", "bf16"}})
      .option("shard_rows", &T::shard_rows, {.meaning = "rows a file", .scope = Scope::kExecution, .min = 1});
  return table;
}

const TableSpec& trunk_table() {
  using T = TrunkOptions;
  static const TableSpec table = TableOf<T>("trunk", "What makes features of images")
      .option("model", &T::model, {.meaning = "pixels: the image itself, value / 255, flattened; none: the set is features already (synthetic)", .choices = {"pixels", "none"}});
  return table;
}

const TableSpec& image_data_table() {
  using T = ImageDataOptions;
  static const TableSpec table = TableOf<T>("data", "The set that is cached")
      .option("dataset", &T::dataset, {.meaning = "a registered set (" + dataset_names() + "); with a list, only the set's name"})
      .option("root", &T::root, {.meaning = "its folder, below which a list's paths lie; empty: where its package puts it", .scope = Scope::kExecution})
      .option("split", &T::split, {.meaning = "part of the set: train or test; of cifar10_c and cifar100_c CORRUPTION/SEVERITY, as fog/3; of folder a folder below root"})
      .option("list", &T::list, {.meaning = "file of lines `path label`: the images of the set; empty: the set's own files"})
      .option("labels", &T::labels, {.meaning = "false writes -1 (unknown), as for sets that are only ever unknown inputs"})
      .option("rows", &T::rows, {.meaning = "of synthetic: rows a pass", .min = 1})
      .option("dim", &T::dim, {.meaning = "of synthetic: features a row", .min = 1})
      .option("classes", &T::classes, {.meaning = "number of classes; auto: of synthetic 1000, of a list the highest label + 1, of other sets their own", .min = 1})
      .option("seed", &T::seed, {.meaning = "of synthetic: its rows and classes follow from it", .min = 0});
  return table;
}

}  // namespace dissent
