#include "train/images/image_data.hpp"

#include <fmt/format.h>

#include "data/datasets/registry.hpp"
#include "data/open_images.hpp"
#include "data/row_range.hpp"

namespace dissent {
namespace {

// classes: of the labels of [data] and [validation], where they are known; nothing: labels are not
// read.
ImageDataOptions data_of(const ImageSetOptions& set, const ImageTrainDataOptions& data,
                         bool labelled = true, std::optional<int64_t> classes = std::nullopt) {
  ImageDataOptions options;
  options.dataset = data.dataset;
  options.list = data.list;
  const auto trained = set_name(options);
  const bool same = set.dataset.empty() || set.dataset == trained;
  // A list that is given no name has that of its file: it is not the set that another one names.
  const bool named_by_file =
      set.dataset.empty() && !set.list.empty() && (data.dataset.empty() || data.list.empty());
  options.dataset = named_by_file ? "" : set.dataset.empty() ? trained : set.dataset;
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

}  // namespace

std::vector<std::pair<std::string, ImageDataOptions>> image_sets(const ImageTrainConfig& c) {
  std::vector<std::pair<std::string, ImageDataOptions>> sets{
      {"data", data_of(set_of(c.data), c.data, true, c.data.classes)}};
  if (c.with_validation) sets.emplace_back("validation", data_of(set_of(c.validation), c.data));
  if (c.with_unlabelled)
    sets.emplace_back("unlabelled", data_of(set_of(c.unlabelled), c.data, false));
  return sets;
}

ImageData open_image_data(const ImageTrainConfig& c) {
  // The training set decides which labels there are.
  ImageData data;
  const auto trained = data_of(set_of(c.data), c.data, true, c.data.classes);
  data.train = open_set(trained, set_of(c.data), c.data);
  check_class_gaps(*data.train.source, trained);
  if (c.with_rand_augment) data.train.transform.rand_augment = c.rand_augment;
  if (c.with_aug_mix) data.train.transform.aug_mix = c.aug_mix;
  data.train.transform.corruption = c.corruption;
  data.classes = data.train.source->classes();
  if (data.classes == 0 && data.train.source->rows() > 0)
    data.classes = data.train.source->labels().max().item<int64_t>() + 1;
  DISSENT_CHECK(data.classes > 0, kData, "{}: expected labelled images, found none",
                data.train.source->name());
  check_labels_of(*data.train.source, data.classes);
  data.identity = "train " + data.train.source->identity();

  // The other sets have to agree with it. Their options name its classes, so that an error in a
  // list is reported with file and line.
  if (c.with_validation) {
    auto options = data_of(set_of(c.validation), c.data);
    options.classes_of_training = data.classes;
    data.validation = open_set(options, set_of(c.validation), c.data);
    check_same_classes(*data.validation->source, data.train.source->class_names(),
                       data.train.source->name());
    check_labels_of(*data.validation->source, data.classes);
    data.identity += ", validation " + data.validation->source->identity();
  }
  if (c.with_unlabelled) {
    data.unlabelled =
        open_set(data_of(set_of(c.unlabelled), c.data, false), set_of(c.unlabelled), c.data);
    data.identity += ", unlabelled " + data.unlabelled->source->identity();
  }
  return data;
}

}  // namespace dissent
