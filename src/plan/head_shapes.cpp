#include "plan/head_shapes.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <set>
#include <utility>

#include "storage/atomic_file.hpp"
#include "storage/feature_cache.hpp"
#include "storage/row_subset.hpp"

namespace dissent::plan {
namespace {

// Shape of an existing cache; nothing if there is none.
std::optional<RowsShape> shape_on_disk(const std::string& path) {
  // A manifest is enough, so a plan can be made while the shards are still being written. A single
  // file has no manifest and is opened.
  for (const char* name : {kManifestName, kPartialManifestName}) {
    const std::string manifest = path + "/" + name;
    if (path_exists(manifest)) return shape_of(parse_manifest(read_text(manifest), manifest).spec);
  }
  if (path_exists(path)) return shape_of(FeatureCache::open(path).spec());
  return std::nullopt;
}

class ShapeReader {
 public:
  ShapeReader(const CacheDataOptions& options, const AssumedSizes& sizes)
      : options_(options), sizes_(sizes) {}

  HeadShapes read() {
    // The training set first: it gives the features and classes of the others.
    HeadShapes shapes;
    shapes.train = read_train();
    if (!options_.validation.empty())
      shapes.validation = read_other("validation", options_.validation, "validation-rows",
                                     sizes_.validation_rows, shapes.train);
    if (!options_.unlabelled.empty())
      shapes.unlabelled = read_other("unlabelled", options_.unlabelled, "unlabelled-rows",
                                     sizes_.unlabelled_rows, shapes.train);

    check_all_used();
    shapes.text = text_;
    return shapes;
  }

 private:
  int64_t size(const std::string& option, std::optional<int64_t> value) {
    used_.insert(option);
    const int64_t size = value.value_or(0);
    DISSENT_CHECK(size >= 1, kUsage, "--{}: expected an integer >= 1, found {}", option, size);
    return size;
  }

  // An option that applies to none of these caches is a mistake: the user would believe that the
  // plan is for the given size.
  void check_all_used() const {
    // used_: the options that were read, noted by size().
    const std::pair<const char*, bool> given[] = {
        {"rows", sizes_.rows.has_value()},
        {"dim", sizes_.dim.has_value()},
        {"classes", sizes_.classes.has_value()},
        {"passes", sizes_.passes.has_value()},
        {"dtype", sizes_.dtype.has_value()},
        {"validation-rows", sizes_.validation_rows.has_value()},
        {"unlabelled-rows", sizes_.unlabelled_rows.has_value()}};
    for (const auto& [option, is_given] : given)
      DISSENT_CHECK(
          !is_given || used_.count(option), kUsage,
          "--{} is for a cache that does not exist yet; all caches of this configuration exist",
          option);
  }

  RowsShape assumed_train() {
    DISSENT_CHECK(sizes_.rows && sizes_.dim && sizes_.classes, kUsage,
                  "data.train: {} does not exist; --rows, --dim and --classes (and --passes, "
                  "--dtype) give its shape",
                  options_.train);
    used_.insert("dtype");
    const auto dtype = dtype_from_name(sizes_.dtype.value_or("f32"), "--dtype");

    // Rows, features and classes have no default: a plan for guessed sizes would mislead.
    RowsShape shape;
    shape.rows_per_pass = size("rows", sizes_.rows);
    shape.passes = size("passes", sizes_.passes.value_or(1));
    shape.dim = size("dim", sizes_.dim);
    shape.classes = size("classes", sizes_.classes);
    shape.dtype = dtype;
    return shape;
  }

  RowsShape read_train() {
    // The shape of an existing cache is known; options are for one that is still to be written.
    auto shape = shape_on_disk(options_.train);
    if (!shape) shape = assumed_train();
    describe("train", options_.train, *shape);

    DISSENT_CHECK(shape->classes >= 1, kData,
                  "data.train ({}): expected labelled rows, found none: every label is -1",
                  options_.train);

    if (options_.subset.empty()) return *shape;

    // Training reads the subset's rows, or all but these. The rows are positions within a pass, so
    // each pass has the same number of them.
    const auto listed = static_cast<int64_t>(
        read_row_subset(options_.subset, options_.subset_complement).positions.size());
    shape->rows_per_pass = options_.subset_complement ? shape->rows_per_pass - listed : listed;
    DISSENT_CHECK(shape->rows_per_pass >= 1, kData,
                  "{}: expected at least one row, found none left of {}", options_.subset,
                  options_.train);
    text_ += fmt::format("    of these, data.subset: {} rows per pass\n", shape->rows_per_pass);
    return *shape;
  }

  // A set other than the training set, which gives all but its number of rows.
  RowsShape read_other(const char* role, const std::string& path, const std::string& option,
                       std::optional<int64_t> rows, const RowsShape& train) {
    auto shape = shape_on_disk(path);
    if (!shape) {
      DISSENT_CHECK(rows, kUsage, "data.{}: {} does not exist; --{} gives its number of rows", role,
                    path, option);
      shape = train;
      shape->rows_per_pass = size(option, rows);
      shape->passes = 1;
    }

    // Heads are applied to the rows of all three caches, so these have as many features.
    describe(role, path, *shape);
    DISSENT_CHECK(shape->dim == train.dim, kData,
                  "{}: expected {} features per row, as in {}, found {}", path, train.dim,
                  options_.train, shape->dim);
    return *shape;
  }

  void describe(const char* role, const std::string& path, const RowsShape& shape) {
    text_ += fmt::format(
        "  {} {}: {} rows x {} features of {} bytes, {} passes, {} classes, {} on disk{}\n", role,
        path, shape.rows_per_pass, shape.dim, c10::elementSize(shape.dtype), shape.passes,
        shape.classes, byte_text(cache_bytes(shape)),
        path_exists(path) ? "" : " (does not exist yet: shape from the options)");
  }

  const CacheDataOptions& options_;
  const AssumedSizes& sizes_;
  std::set<std::string> used_;
  std::string text_;
};

}  // namespace

HeadShapes read_head_shapes(const CacheDataOptions& options, const AssumedSizes& sizes) {
  return ShapeReader(options, sizes).read();
}

}  // namespace dissent::plan
