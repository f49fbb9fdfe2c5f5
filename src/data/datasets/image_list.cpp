#include "data/datasets/image_list.hpp"

#include <xxhash.h>
#include <dissent/error.hpp>

#include <charconv>
#include <limits>

#include "core/edited_text.hpp"
#include "data/datasets/folder_list.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr int64_t kLargestListLabel = std::numeric_limits<int32_t>::max() - 1;

}  // namespace

ImageList::ImageList(const Origin& origin, std::string text)
    : root_(origin.root), text_(std::move(text)), background_(origin.background) {
  class_names_ = origin.class_names;
  DISSENT_CHECK(origin.classes == 0 || std::ssize(class_names_) <= origin.classes, kData,
                "{}: expected at most {} classes (classes), found the names of {}", origin.place,
                origin.classes, class_names_.size());
  const int64_t classes = origin.classes > 0 ? origin.classes : std::ssize(class_names_);

  // At most one row per line; the tensors are cut to the rows in the end.
  const auto lines = std::count(text_.begin(), text_.end(), '\n') + 1;
  places_ = at::empty({lines}, at::kLong);
  labels_ = at::empty({lines}, at::kLong);
  auto *places = places_.data_ptr<int64_t>(), *labels = labels_.data_ptr<int64_t>();
  const std::string_view whole = text_;
  const int64_t largest = classes > 0 ? classes - 1 : kLargestListLabel;
  int64_t rows = 0, line = 0, highest = -1, left_out = 0;
  for (size_t begin = 0; begin < whole.size(); ++line) {
    const size_t end = std::min(whole.find('\n', begin), whole.size());
    auto row = whole.substr(begin, end - begin);
    while (!row.empty() && (row.back() == '\r' || row.back() == ' ')) row.remove_suffix(1);
    if (!row.empty()) {
      const size_t space = row.rfind(' ');
      DISSENT_CHECK(space != std::string_view::npos && space > 0, kData,
                    "{}:{}: expected `path label`, found '{}'", origin.place, line + 1, row);
      DISSENT_CHECK(root_.empty() || row[0] != '/', kData, "{}:{}: {}: expected a path below {}",
                    origin.place, line + 1, row.substr(0, space), root_);
      const auto* last = row.data() + row.size();
      const auto [rest, error] = std::from_chars(row.data() + space + 1, last, labels[rows]);
      const auto found = row.substr(space + 1);
      DISSENT_CHECK(rest == last && error != std::errc::invalid_argument, kData,
                    "{}:{}: label: expected a whole number, found '{}'", origin.place, line + 1,
                    found);
      const bool counts = error == std::errc();
      if (counts && origin.ignore_label == labels[rows]) {
        ++left_out;
        begin = end + 1;
        continue;
      }
      DISSENT_CHECK(counts && labels[rows] >= -1 && labels[rows] <= largest, kData,
                    "{}:{}: label: expected -1 (unknown) or 0 .. {}{}, found {}", origin.place,
                    line + 1, largest, classes > 0 ? "" : ", the largest that is possible", found);
      highest = std::max(highest, labels[rows]);
      places[rows++] = static_cast<int64_t>(begin);
    }
    begin = end + 1;
  }

  DISSENT_CHECK(rows > 0 || left_out == 0, kData,
                "{}: expected lines with another label than ignore_label = {}, found none",
                origin.place, *origin.ignore_label);
  DISSENT_CHECK(rows > 0, kData, "{}: an image list without lines", origin.place);
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
  auto line = std::string_view(text_).substr(begin, text_.find('\n', begin) - begin);
  while (line.back() == '\r' || line.back() == ' ') line.remove_suffix(1);
  line = line.substr(0, line.rfind(' '));
  return root_.empty() ? std::string(line) : fmt::format("{}/{}", root_, line);
}

at::Tensor ImageList::image(int64_t row) const {
  return read_image(path(row), nullptr, background_);
}
at::Tensor ImageList::image_for(int64_t row, const WantedPart& wanted) const {
  return read_image(path(row), wanted, background_);
}

std::unique_ptr<ImageSource> open_image_list(const ImageDataOptions& options) {
  const auto has = [&](const char* part) { return options.list.find(part) != std::string::npos; };
  const char* obtain = has("-c1/") || has("-c5/")
                           ? " (SDDE's lists of corrupted images are not published)"
                       : has("benchmark_imglist/") ? " (scripts/download sdde-lists openood-lists)"
                                                   : "";
  DISSENT_CHECK(path_exists(options.list), kData, "{}: no such image list{}", options.list, obtain);
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
