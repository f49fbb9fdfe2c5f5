#include "data/row_range.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace dissent {
namespace {

class RowRange final : public ImageSource {
 public:
  RowRange(std::unique_ptr<ImageSource> whole, int64_t first, int64_t last)
      : whole_(std::move(whole)), first_(first) {
    name_ = fmt::format("{}[{}:{}]", whole_->name(), first, last);
    identity_ = fmt::format("{}, rows {}:{}", whole_->identity(), first, last);
    classes_ = whole_->classes();
    class_names_ = whole_->class_names();
    labels_ = whole_->labels().narrow(0, first, last - first);
  }
  at::Tensor image(int64_t row) const override { return whole_->image(first_ + row); }
  std::string image_name(int64_t row) const override { return whole_->image_name(first_ + row); }
  at::Tensor image_for(int64_t row, const NeededPart& needed) const override {
    return whole_->image_for(first_ + row, needed);
  }

 private:
  std::unique_ptr<ImageSource> whole_;
  int64_t first_;
};

}  // namespace

std::unique_ptr<ImageSource> rows_of_source(std::unique_ptr<ImageSource> source,
                                            const std::string& range) {
  // A slice as in Python; "5" alone is not one (open_images turns it into ":5").
  if (range.empty()) return source;
  const auto colon = range.find(':');
  const int64_t rows = source->rows();
  bool right = colon != std::string::npos;

  // Python's rules: an empty bound is the start or the end of the set, negative ones count from the
  // end, and bounds are clamped.
  const auto bound = [&](const std::string& text, int64_t absent) {
    if (text.empty()) return absent;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    right = right && error == std::errc() && end == text.data() + text.size();
    return std::clamp<int64_t>(value < 0 ? rows + value : value, 0, rows);
  };
  const int64_t first = right ? bound(range.substr(0, colon), 0) : 0,
                last = right ? bound(range.substr(colon + 1), rows) : 0;
  DISSENT_CHECK(right && first < last, kUsage,
                "data.rows: expected a range such as \"0:55000\" or \"-5000:\" with at least one "
                "of the {} rows "
                "of {}, found \"{}\"",
                rows, source->name(), range);
  return std::make_unique<RowRange>(std::move(source), first, last);
}

}  // namespace dissent
