#include "data/datasets/image_list.hpp"

#include <xxhash.h>
#include <dissent/error.hpp>

#include <charconv>

#include "data/datasets/memory_images.hpp"
#include "data/images/decode.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {

ImageList::ImageList(const Origin& origin, std::string text)
    : root_(origin.root), text_(std::move(text)) {
  const auto lines = std::count(text_.begin(), text_.end(), '\n') + 1;
  places_ = at::empty({lines}, at::kLong);
  labels_ = at::empty({lines}, at::kLong);
  auto *places = places_.data_ptr<int64_t>(), *labels = labels_.data_ptr<int64_t>();
  const std::string_view whole = text_;
  int64_t rows = 0, line = 0, highest = -1;
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
      DISSENT_CHECK(error == std::errc() && rest == last, kData,
                    "{}:{}: label '{}', expected a whole number", origin.place, line + 1,
                    row.substr(space + 1));
      const bool known =
          labels[rows] >= -1 && (origin.classes == 0 || labels[rows] < origin.classes);
      DISSENT_CHECK(known, kData, "{}:{}: label {}, expected -1 (unknown) or 0 .. {}", origin.place,
                    line + 1, labels[rows],
                    origin.classes == 0 ? "" : std::to_string(origin.classes - 1));
      highest = std::max(highest, labels[rows]);
      places[rows++] = static_cast<int64_t>(begin);
    }
    begin = end + 1;
  }
  DISSENT_CHECK(rows > 0, kData, "{}: an image list without lines", origin.place);
  places_ = places_.narrow(0, 0, rows);
  labels_ = labels_.narrow(0, 0, rows);
  name_ = origin.name;
  classes_ = origin.classes > 0 ? origin.classes : highest + 1;
  identity_ =
      fmt::format("{}, {} images, {:016x}", name_, rows, XXH3_64bits(text_.data(), text_.size()));
}

std::string ImageList::path(int64_t row) const {
  const auto begin = static_cast<size_t>(places_.const_data_ptr<int64_t>()[row]);
  auto line = std::string_view(text_).substr(begin, text_.find('\n', begin) - begin);
  while (line.back() == '\r' || line.back() == ' ') line.remove_suffix(1);
  line = line.substr(0, line.rfind(' '));
  return root_.empty() ? std::string(line) : fmt::format("{}/{}", root_, line);
}

at::Tensor ImageList::image(int64_t row) const { return read_image(path(row)); }
at::Tensor ImageList::image_for(int64_t row, const WantedPart& wanted) const {
  return read_image(path(row), wanted);
}

std::unique_ptr<ImageSource> open_image_list(const ImageDataOptions& options) {
  const auto has = [&](const char* part) { return options.list.find(part) != std::string::npos; };
  const char* obtain = has("-c1/") || has("-c5/")
                           ? " (SDDE's lists of corrupted images are not published)"
                       : has("benchmark_imglist/") ? " (scripts/download sdde-lists openood-lists)"
                                                   : "";
  DISSENT_CHECK(path_exists(options.list), kData, "{}: no such image list{}", options.list, obtain);
  return std::make_unique<ImageList>(
      ImageList::Origin{.name = options.dataset + "/" + options.split,
                        .place = options.list,
                        .root = options.root,
                        .classes = options.classes.value_or(0)},
      read_text(options.list));
}

}  // namespace dissent
