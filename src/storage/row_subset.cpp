#include "storage/row_subset.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "core/edited_text.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

std::string_view trimmed(std::string_view text) {
  text = text.substr(0, text.find('#'));
  const auto first = text.find_first_not_of(" \t\r");
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

void add_row(std::vector<RowRange>& ranges, int64_t row) {
  if (!ranges.empty() && ranges.back().first + ranges.back().count == row)
    ++ranges.back().count;
  else
    ranges.push_back({row, 1});
}

}  // namespace

RowSubset read_row_subset(const std::string& path, bool complement) {
  const std::string text = edited_text(read_text(path), path);
  RowSubset subset{{}, complement, path};

  std::unordered_map<int64_t, int64_t> seen;  // position -> line
  int64_t line = 0;
  for (size_t start = 0; start < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const auto word = trimmed(std::string_view(text).substr(start, end - start));
    start = end + 1;
    if (word.empty()) continue;

    int64_t position = -1;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), position);
    DISSENT_CHECK(code == std::errc() && stop == word.data() + word.size() && position >= 0, kData,
                  "{}:{}: expected a position (an integer >= 0), found '{}'", path, line + 1, word);

    // A position listed twice is refused: it would be used once, not twice as one may expect.
    const auto [before, added] = seen.emplace(position, line + 1);
    DISSENT_CHECK(added, kData, "{0}:{1}: expected each position once, found {2} also in line {3}",
                  path, line + 1, position, before->second);
    subset.positions.push_back(position);
  }
  return subset;
}

RowSelection all_rows(const FeatureCache& cache) { return select_rows(cache, 0, cache.passes()); }

RowSelection select_rows(const FeatureCache& cache, int64_t first_pass, int64_t passes,
                         const std::optional<RowSubset>& subset) {
  DISSENT_CHECK(first_pass >= 0 && passes >= 1 && first_pass + passes <= cache.passes(), kUsage,
                "{0}: passes: expected a range inside 0 .. {3}, found {1} .. {2}", cache.path(),
                first_pass, first_pass + passes - 1, cache.passes() - 1);

  // Without a list the passes are one contiguous range.
  const int64_t per_pass = cache.rows_per_pass();
  if (!subset) return {{{first_pass * per_pass, passes * per_pass}}, passes, per_pass};

  // rows_per_pass is -1 until the first pass has been filtered. found: which positions occur.
  auto positions = subset->positions;
  std::sort(positions.begin(), positions.end());
  std::vector<bool> found(positions.size(), false);
  RowSelection selection{{}, passes, -1};

  // Each pass is filtered by its own index, since the order of rows may differ between passes.
  for (int64_t pass = first_pass; pass < first_pass + passes; ++pass) {
    const auto index = cache.read_index(pass * per_pass, per_pass);
    const auto* data = index.const_data_ptr<int64_t>();
    int64_t kept = 0;
    for (int64_t row = 0; row < per_pass; ++row) {
      const auto at = std::lower_bound(positions.begin(), positions.end(), data[row]);
      const bool listed = at != positions.end() && *at == data[row];
      if (listed) found[at - positions.begin()] = true;
      if (listed == subset->complement) continue;
      add_row(selection.ranges, pass * per_pass + row);
      ++kept;
    }

    // Augmented copies of a row have to be selected together.
    DISSENT_CHECK(selection.rows_per_pass < 0 || selection.rows_per_pass == kept, kData,
                  "{0}: subset of {1}: expected the same number of rows in each pass, found {2} in "
                  "pass {3}, {4} in pass {5}",
                  subset->path, cache.path(), selection.rows_per_pass, first_pass, kept, pass);
    selection.rows_per_pass = kept;
  }

  // A position that the cache does not have points to a list of another set.
  if (const auto missing = std::find(found.begin(), found.end(), false); missing != found.end())
    DISSENT_FAIL(kData, "{0}: expected positions of {2}, found {1}", subset->path,
                 positions[missing - found.begin()], cache.path());
  DISSENT_CHECK(selection.rows_per_pass > 0, kData,
                "{0}: expected a list that {1} at least one row of {2}, found none", subset->path,
                subset->complement ? "leaves" : "selects", cache.path());
  return selection;
}

}  // namespace dissent
