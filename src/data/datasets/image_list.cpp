#include "data/datasets/image_list.hpp"

#include <xxhash.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/edited_text.hpp"
#include "data/datasets/folder_list.hpp"
#include "data/open_images.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr int64_t kLargestListLabel = std::numeric_limits<int32_t>::max() - 1;

// The path and label of a line, the label as text.
struct Line {
  std::string_view path, label;
};

std::string_view without_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return line;
}

// The label is what follows the last space, so paths may contain spaces.
Line split_line(std::string_view line, const ImageList::Origin& origin, int64_t number) {
  const size_t space = line.rfind(' ');
  DISSENT_CHECK(space != std::string_view::npos && space > 0, kData,
                "{}:{}: expected `path label`, found '{}'", origin.place, number, line);
  const Line parts{line.substr(0, space), line.substr(space + 1)};
  DISSENT_CHECK(origin.root.empty() || line[0] != '/', kData,
                "{}:{}: {}: expected a path below {}, found an absolute one", origin.place, number,
                parts.path, origin.root);
  return parts;
}

// The label as an integer; nothing if it is one that 64 bits cannot hold.
std::optional<int64_t> parse_label(std::string_view text, const ImageList::Origin& origin,
                                   int64_t number) {
  int64_t label = 0;
  const auto* last = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), last, label);
  DISSENT_CHECK(rest == last && error != std::errc::invalid_argument, kData,
                "{}:{}: label: expected an integer, found '{}'", origin.place, number, text);
  return error == std::errc() ? std::optional(label) : std::nullopt;
}

}  // namespace

ImageList::ImageList(const Origin& origin, std::string text)
    : root_(origin.root), text_(std::move(text)), background_(origin.background) {
  class_names_ = origin.class_names;
  DISSENT_CHECK(origin.classes == 0 || std::ssize(class_names_) <= origin.classes, kData,
                "{}: expected at most {} classes (data.classes), found {} class names",
                origin.place, origin.classes, class_names_.size());

  // The limit for labels: the given number of classes, else that of the names, else any class that
  // a cache can store as i32.
  const int64_t classes = origin.classes > 0 ? origin.classes : std::ssize(class_names_);
  const int64_t largest = classes > 0 ? classes - 1 : kLargestListLabel;

  // At most one row per line; the tensors are cut to the rows in the end.
  const auto lines = std::count(text_.begin(), text_.end(), '\n') + 1;
  places_ = at::empty({lines}, at::kLong);
  labels_ = at::empty({lines}, at::kLong);
  auto *places = places_.data_ptr<int64_t>(), *labels = labels_.data_ptr<int64_t>();

  // Rows keep the place of their line in the text instead of a copy of the path: ImageNet has 1.3
  // million.
  const std::string_view whole = text_;
  int64_t rows = 0, number = 0, highest = -1, left_out = 0;
  for (size_t begin = 0, end = 0; begin < whole.size(); begin = end + 1) {
    end = std::min(whole.find('\n', begin), whole.size());
    ++number;
    const auto line = without_end(whole.substr(begin, end - begin));
    if (line.empty()) continue;

    // The label to be ignored is compared before the range: it is usually outside (255, -100).
    const auto parts = split_line(line, origin, number);
    const auto label = parse_label(parts.label, origin, number);
    if (label && origin.ignore_label == label) {
      ++left_out;
      continue;
    }
    DISSENT_CHECK(label && *label >= -1 && *label <= largest, kData,
                  "{}:{}: label: expected -1 (unknown) or 0 .. {}{}, found {}", origin.place,
                  number, largest, classes > 0 ? "" : " (the largest label)", parts.label);
    highest = std::max(highest, *label);
    labels[rows] = *label;
    places[rows] = static_cast<int64_t>(begin);
    ++rows;
  }

  DISSENT_CHECK(rows > 0 || left_out == 0, kData,
                "{}: expected lines with a label other than ignore_label = {}, found none",
                origin.place, *origin.ignore_label);
  DISSENT_CHECK(rows > 0, kData, "{}: expected lines `path label`, found none", origin.place);
  if (left_out > 0)
    warn_once(fmt::format("event=rows_left_out place={} label={} rows={} of={}", origin.place,
                          *origin.ignore_label, left_out, rows + left_out));
  places_ = places_.narrow(0, 0, rows);
  labels_ = labels_.narrow(0, 0, rows);

  // The identity names what decides the pixels: the lines, the label that was left out, the
  // background.
  name_ = origin.name;
  classes_ = classes > 0 ? classes : highest + 1;
  identity_ =
      fmt::format("{}, {} images, {:016x}", name_, rows, XXH3_64bits(text_.data(), text_.size()));
  if (left_out > 0) identity_ += fmt::format(", without label {}", *origin.ignore_label);
  if (background_) identity_ += fmt::format(", on {}", fmt::join(*background_, " "));
}

std::string ImageList::path(int64_t row) const {
  const auto begin = static_cast<size_t>(places_.const_data_ptr<int64_t>()[row]);
  auto line = without_end(std::string_view(text_).substr(begin, text_.find('\n', begin) - begin));
  line = line.substr(0, line.rfind(' '));
  return root_.empty() ? std::string(line) : fmt::format("{}/{}", root_, line);
}

at::Tensor ImageList::image(int64_t row) const {
  return read_image(path(row), nullptr, background_);
}
at::Tensor ImageList::image_for(int64_t row, const NeededPart& needed) const {
  return read_image(path(row), needed, background_);
}

std::unique_ptr<ImageSource> open_image_list(const ImageDataOptions& options) {
  // Advice for the lists of the benchmarks, which are known by their folders.
  const auto has = [&](const char* part) { return options.list.find(part) != std::string::npos; };
  const char* obtain = has("-c1/") || has("-c5/")
                           ? " (SDDE's lists of corrupted images are not published)"
                       : has("benchmark_imglist/") ? " (scripts/download sdde-lists openood-lists)"
                                                   : "";
  DISSENT_CHECK(path_exists(options.list), kData, "{}: no such image list{}", options.list, obtain);

  // The number of classes: data.classes, else the class file, else that of the training set, so
  // that a test list without the highest classes fits the trained network.
  const auto class_file = class_file_of(options.list);
  const auto names =
      path_exists(class_file) ? read_class_file(class_file) : std::vector<std::string>{};
  return std::make_unique<ImageList>(
      ImageList::Origin{.name = set_name(options) + "/" + options.split,
                        .place = options.list,
                        .root = options.root,
                        .classes = options.classes.value_or(
                            names.empty() ? options.classes_of_training.value_or(0) : 0),
                        .class_names = names,
                        .ignore_label = options.ignore_label,
                        .background = background_of(options.background)},
      edited_text(read_text(options.list), options.list));
}

}  // namespace dissent
