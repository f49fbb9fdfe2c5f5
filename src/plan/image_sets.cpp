#include "plan/image_sets.hpp"

#include <fmt/format.h>
#include <dissent/scores/imagenet_subset.hpp>

#include <cstdint>
#include <initializer_list>
#include <utility>

#include "data/datasets/registry.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"

namespace dissent::plan {
namespace {

// Data sets that OpenOOD defines by image lists: the table of data sets has no entry for them that
// tells the number of classes.
constexpr std::pair<const char*, int64_t> kListedClasses[] = {
    {"imagenet", scores::kImagenetClasses}, {"imagenet200", 200}};

int64_t size_of(const char* option, int64_t value) {
  DISSENT_CHECK(value >= 1, kUsage, "--{}: expected an integer >= 1, found {}", option, value);
  return value;
}

// Error::kUsage for the first option that is given and does not apply.
void check_not_given(std::initializer_list<std::pair<const char*, bool>> options,
                     const char* reason) {
  for (const auto& [option, is_given] : options)
    DISSENT_CHECK(!is_given, kUsage, "--{} is for {}", option, reason);
}

ImageSets open_sets(const ImageTrainConfig& config) {
  ImageSets sets;

  // What opening the sets adds to the peak: lists and names take memory in addition to pixels.
  const int64_t before = peak_memory_bytes();
  sets.data = open_image_data(config);
  sets.bytes = peak_memory_bytes() - before;

  sets.classes = sets.data->classes;
  sets.rows = sets.data->train.source->rows();
  if (sets.data->validation) sets.validation_rows = sets.data->validation->source->rows();
  sets.text = fmt::format("  {}, {} classes, {} of memory\n", sets.data->identity, sets.classes,
                          byte_text(sets.bytes));
  return sets;
}

// The option, else the configuration, else what is known of the data set; 0: unknown.
int64_t assumed_classes(const ImageTrainConfig& config, const std::string& dataset,
                        const AssumedSizes& sizes) {
  if (sizes.classes) return size_of("classes", *sizes.classes);
  if (config.data.classes) return *config.data.classes;
  for (const auto& [name, classes] : kListedClasses)
    if (dataset == name) return classes;
  for (const auto& set : dataset_table())
    if (set.name == dataset) return set.classes;
  return 0;
}

ImageSets assume_sets(const ImageTrainConfig& config, const AssumedSizes& sizes,
                      const std::string& reason) {
  ImageSets sets;
  sets.text = fmt::format(
      "  the images were not found, so sizes are those of the configuration and the options: {}\n",
      reason);

  const auto dataset = image_sets(config).front().second.dataset;
  sets.classes = assumed_classes(config, dataset, sizes);
  DISSENT_CHECK(
      sets.classes > 0, kUsage,
      "data.dataset: {} not found; --classes (and --rows, --validation-rows) give its shape",
      dataset);

  // Time and messages of a step do not depend on the number of images, so the plan is made without
  // it and leaves out what is counted per epoch.
  if (sizes.rows)
    sets.rows = size_of("rows", *sizes.rows);
  else
    sets.text += "  number of images unknown, so no values per epoch: --rows gives it\n";
  if (sizes.validation_rows)
    sets.validation_rows = size_of("validation-rows", *sizes.validation_rows);
  return sets;
}

}  // namespace

ImageSets find_image_sets(const ImageTrainConfig& config, const AssumedSizes& sizes) {
  check_not_given({{"dim", sizes.dim.has_value()},
                   {"passes", sizes.passes.has_value()},
                   {"dtype", sizes.dtype.has_value()},
                   {"unlabelled-rows", sizes.unlabelled_rows.has_value()}},
                  "a cache; found data.kind = \"images\"");

  // The login node of a cluster often has no images: then the plan is made from sizes. The reason
  // is printed, because a misspelt path looks the same.
  std::optional<ImageSets> sets;
  std::string reason;
  try {
    sets = open_sets(config);
  } catch (const Error& error) {
    reason = error.what();
  }

  if (!sets) return assume_sets(config, sizes, reason);

  check_not_given({{"rows", sizes.rows.has_value()},
                   {"classes", sizes.classes.has_value()},
                   {"validation-rows", sizes.validation_rows.has_value()}},
                  "images that do not exist yet; the configuration's images exist");
  return *std::move(sets);
}

}  // namespace dissent::plan
