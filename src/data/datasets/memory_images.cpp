#include "data/datasets/memory_images.hpp"

#include <xxhash.h>
#include <dissent/error.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/edited_text.hpp"

namespace dissent {

void leave_out_label(at::Tensor& images, at::Tensor& labels, std::optional<int64_t> label,
                     const std::string& place) {
  // A wrong number of labels is reported by MemoryImages.
  if (!label || labels.size(0) != images.size(0)) return;
  const auto kept = labels.ne(*label).nonzero().squeeze(1);
  const int64_t left_out = labels.size(0) - kept.size(0);
  if (left_out == 0) return;

  DISSENT_CHECK(kept.size(0) > 0, kData,
                "{}: expected rows with a label other than ignore_label = {}, found none", place,
                *label);
  warn_once(fmt::format("event=rows_left_out place={} label={} rows={} of={}", place, *label,
                        left_out, labels.size(0)));

  images = images.index_select(0, kept);
  labels = labels.index_select(0, kept);
}

void check_labels(const at::Tensor& labels, int64_t classes, const std::string& place) {
  const auto* values = labels.const_data_ptr<int64_t>();
  const int64_t end = classes > 0 ? classes : std::numeric_limits<int64_t>::max();
  for (int64_t row = 0; row < labels.size(0); ++row)
    DISSENT_CHECK(values[row] >= -1 && values[row] < end, kData,
                  "{}: label of image {}: expected {}, found {}", place, row,
                  classes > 0 ? fmt::format("0 .. {}, or -1 (unknown)", classes - 1)
                              : "0 or more, or -1 (unknown)",
                  values[row]);
}

MemoryImages::MemoryImages(const std::string& name, at::Tensor images, at::Tensor labels,
                           int64_t classes, const std::string& label_place)
    : images_(std::move(images)) {
  DISSENT_CHECK(labels.size(0) == images_.size(0), kData,
                "{0}: expected a label for each of the {2} images of {3}, found {1} labels",
                label_place, labels.size(0), images_.size(0), name);
  check_labels(labels, classes, label_place);

  // The identity is a hash of pixels and labels, so it does not depend on paths.
  name_ = name;
  classes_ = classes;
  labels_ = std::move(labels);
  const auto hash = XXH3_64bits_withSeed(labels_.const_data_ptr(), labels_.nbytes(),
                                         XXH3_64bits(images_.const_data_ptr(), images_.nbytes()));
  identity_ = fmt::format("{}, {} images, {:016x}", name_, rows(), hash);
}

}  // namespace dissent
