#include "report/arguments.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>
#include <system_error>

#include "core/enum_names.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::report {

std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> parts;

  // Empty parts are omitted, so a comma at the end does not matter.
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

namespace {

int64_t integer_of(const std::string& option, const std::string& part, const std::string& text) {
  int64_t value = 0;
  const auto [stop, code] = std::from_chars(part.data(), part.data() + part.size(), value);
  DISSENT_CHECK(code == std::errc() && stop == part.data() + part.size() && !part.empty(), kUsage,
                "{}: expected numbers such as 1..5 or 1,2,7, found '{}'", option, text);
  return value;
}

}  // namespace

std::vector<int64_t> seed_list(const std::string& option, const std::string& text) {
  std::set<int64_t> seeds;
  for (const auto& part : comma_list(text)) {
    // "first..last", or one number.
    const size_t dots = part.find("..");
    const int64_t first = integer_of(option, part.substr(0, dots), text);
    const int64_t last =
        dots == std::string::npos ? first : integer_of(option, part.substr(dots + 2), text);

    // The limit finds a misspelt number before it fills the memory.
    DISSENT_CHECK(first <= last && last - first < 10000, kUsage,
                  "{}: expected a range first..last of at most 10000 numbers, found '{}'", option,
                  part);
    for (int64_t seed = first; seed <= last; ++seed) seeds.insert(seed);
  }

  DISSENT_CHECK(!seeds.empty(), kUsage, "{}: expected numbers such as 1..5 or 1,2,7, found '{}'",
                option, text);
  return {seeds.begin(), seeds.end()};
}

std::vector<std::pair<std::string, std::string>> name_pairs(const std::string& option,
                                                            const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& text : texts) {
    const size_t at = text.find('=');
    DISSENT_CHECK(at != std::string::npos && at > 0, kUsage, "{}: expected name=value, found '{}'",
                  option, text);
    pairs.emplace_back(text.substr(0, at), text.substr(at + 1));
  }
  return pairs;
}

std::vector<Condition> conditions(const std::vector<std::string>& texts) {
  std::vector<Condition> list;
  for (const auto& [column, value] : name_pairs("--where", texts))

    // "column=" selects the rows in which the column is empty.
    list.push_back({column, value.empty() ? std::vector<std::string>{""} : comma_list(value)});
  return list;
}

int freedom_of(const std::string& deviation) {
  static constexpr EnumName<int> kFreedom[] = {{1, "sample"}, {0, "population"}};
  const auto freedom = value_in(kFreedom, deviation);
  DISSENT_CHECK(freedom, kUsage, "--deviation: expected sample or population, found '{}'",
                deviation);
  return *freedom;
}

void write_output(const std::string& path, const std::string& text) {
  if (path != "-") return atomic_write_text(path, text);
  DISSENT_CHECK(
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0,
      kData, "cannot write to stdout");
}

}  // namespace dissent::report
