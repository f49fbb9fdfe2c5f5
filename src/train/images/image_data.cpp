#include "train/images/image_data.hpp"

#include <cstdint>

#include <fmt/format.h>

#include "data/datasets/registry.hpp"
#include "data/open_images.hpp"
#include "data/row_range.hpp"

namespace dissent {
namespace {

// Options of an image set; what it does not name is taken from [data].
// classes: the number of classes if it is known.
ImageDataOptions data_of(const ImageSetOptions& set, const ImageTrainDataOptions& data,
                         bool labelled = true, std::optional<int64_t> classes = std::nullopt) {
  ImageDataOptions options;
  options.dataset = data.dataset;
  options.list = data.list;

  const auto training_set = set_name(options);
  const bool same = set.dataset.empty() || set.dataset == training_set;

  // A list without a name is named after its file, and is not the set that [data] names.
  const bool named_by_file =
      set.dataset.empty() && !set.list.empty() && (data.dataset.empty() || data.list.empty());
  options.dataset = named_by_file ? "" : set.dataset.empty() ? training_set : set.dataset;

  // The folder of [data] is right for the same set only; another set has to name its own.
  options.root = set.root.empty() && same ? data.root : set.root;
  options.split = set.split;
  options.list = set.list;
  options.background = data.background;
  if (named_by_file) options.dataset = set_name(options);

  options.labels = labelled;
  if (!labelled) return options;
  options.classes = classes;
  options.ignore_label = data.ignore_label;
  options.allow_empty = data.allow_empty;
  return options;
}

TransformedSet open_set(const ImageDataOptions& options, const ImageSetOptions& set,
                        const ImageTrainDataOptions& data) {
  const std::string transform =
      set.transform == kAutoTransform ? test_transform(data.transform) : set.transform;
  return {rows_of_source(open_image_source(options), set.rows), find_transform(transform).options};
}

template <class T>
ImageSetOptions set_of(const T& options) {
  return {options.dataset, options.root, options.split,
          options.list,    options.rows, options.transform};
}

void check_labels_of(const ImageSource& source, int64_t classes) {
  const auto wrong = (source.labels() < 0).logical_or(source.labels() >= classes).nonzero();
  if (wrong.size(0) == 0) return;

  const auto row = wrong[0].item<int64_t>();
  DISSENT_FAIL(kData, "{}: label of {}: expected 0 .. {}, found {}", source.name(),
               source.image_name(row), classes - 1, source.labels()[row].item<int64_t>());
}

TransformedSet open_training_set(const ImageTrainConfig& config) {
  const auto options = data_of(set_of(config.data), config.data, true, config.data.classes);
  auto set = open_set(options, set_of(config.data), config.data);
  check_class_gaps(*set.source, options);

  // Augmentations and corruptions are for the training set alone.
  if (config.with_rand_augment) set.transform.rand_augment = config.rand_augment;
  if (config.with_aug_mix) set.transform.aug_mix = config.aug_mix;
  set.transform.corruption = config.corruption;
  return set;
}

// Classes that the set names, else one more than its largest label.
int64_t classes_of(const ImageSource& source) {
  int64_t classes = source.classes();
  if (classes == 0 && source.rows() > 0) classes = source.labels().max().item<int64_t>() + 1;
  DISSENT_CHECK(classes > 0, kData, "{}: expected labelled images, found none", source.name());
  return classes;
}

// The options name the classes of the training set, so that an error in a list is reported with
// file and line.
TransformedSet open_validation_set(const ImageTrainConfig& config, const ImageSource& train,
                                   int64_t classes) {
  auto options = data_of(set_of(config.validation), config.data);
  options.classes_of_training = classes;
  auto set = open_set(options, set_of(config.validation), config.data);
  check_same_classes(*set.source, train.class_names(), train.name());
  check_labels_of(*set.source, classes);
  return set;
}

}  // namespace

std::vector<std::pair<std::string, ImageDataOptions>> image_sets(const ImageTrainConfig& config) {
  std::vector<std::pair<std::string, ImageDataOptions>> sets{
      {"data", data_of(set_of(config.data), config.data, true, config.data.classes)}};
  if (config.with_validation)
    sets.emplace_back("validation", data_of(set_of(config.validation), config.data));
  if (config.with_unlabelled)
    sets.emplace_back("unlabelled", data_of(set_of(config.unlabelled), config.data, false));
  return sets;
}

ImageData open_image_data(const ImageTrainConfig& config) {
  // The training set decides the number and names of the classes.
  ImageData data;
  data.train = open_training_set(config);
  const auto& train = *data.train.source;
  data.classes = classes_of(train);
  check_labels_of(train, data.classes);
  data.identity = "train " + train.identity();

  if (config.with_validation) {
    data.validation = open_validation_set(config, train, data.classes);
    data.identity += ", validation " + data.validation->source->identity();
  }
  if (config.with_unlabelled) {
    data.unlabelled = open_set(data_of(set_of(config.unlabelled), config.data, false),
                               set_of(config.unlabelled), config.data);
    data.identity += ", unlabelled " + data.unlabelled->source->identity();
  }
  return data;
}

}  // namespace dissent
