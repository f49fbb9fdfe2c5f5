#include "storage/results.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>
#include <type_traits>
#include <variant>

#include <fmt/format.h>

#include "core/edited_text.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"

namespace dissent {
namespace {

// One column: its name and the member that it fills. `later`: files of earlier versions lack it.
using Member = std::variant<std::string ResultRow::*, int64_t ResultRow::*, double ResultRow::*>;
struct Column {
  const char* name;
  Member member;
  bool later = false;
};
const Column kColumns[] = {{"experiment", &ResultRow::experiment},
                           {"run", &ResultRow::run},
                           {"config_hash", &ResultRow::config_hash},
                           {"seed", &ResultRow::seed},
                           {"method", &ResultRow::method},
                           {"members", &ResultRow::members},
                           {"predictor", &ResultRow::predictor},
                           {"dataset", &ResultRow::dataset},
                           {"split", &ResultRow::split},
                           {"shift", &ResultRow::shift},
                           {"score", &ResultRow::score},
                           {"metric", &ResultRow::metric},
                           {"convention", &ResultRow::convention},
                           {"fidelity", &ResultRow::fidelity},
                           {"value", &ResultRow::value},
                           {"n", &ResultRow::n},
                           {"evaluation", &ResultRow::evaluation, true},
                           {"training_hash", &ResultRow::training_hash, true}};

std::string field_text(const std::string& value) { return value; }
std::string field_text(int64_t value) { return fmt::format("{}", value); }
std::string field_text(double value) { return number_text(value); }

void parse_field(std::string& out, const std::string& text, const std::string&) { out = text; }

template <class T>
void parse_field(T& out, const std::string& text, const std::string& place) {
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  DISSENT_CHECK(code == std::errc() && stop == text.data() + text.size(), kData,
                "{0}: expected {2}, found '{1}'", place, text,
                std::is_same_v<T, double> ? "a number" : "an integer");
}

}  // namespace

const std::vector<std::string>& result_columns() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& column : kColumns) list.push_back(column.name);
    return list;
  }();
  return names;
}

bool is_later_column(const std::string& name) {
  return std::any_of(std::begin(kColumns), std::end(kColumns),
                     [&](const Column& column) { return column.later && column.name == name; });
}

void write_results(const std::string& path, const std::vector<ResultRow>& rows) {
  std::string text = csv_line(result_columns());
  for (const auto& row : rows) {
    std::vector<std::string> fields;
    for (const auto& column : kColumns)
      fields.push_back(
          std::visit([&](auto member) { return field_text(row.*member); }, column.member));
    text += csv_line(fields);
  }
  atomic_write_text(path, text);
}

std::vector<ResultRow> read_results(const std::string& path) {
  const auto records = parse_csv(edited_text(read_text(path), path), path);
  DISSENT_CHECK(!records.empty(), kData, "{}: expected a header line, found an empty file", path);

  // Columns are found by name, so files of earlier versions and reordered ones are read too.
  const auto& header = records[0].fields;
  constexpr size_t kNowhere = std::numeric_limits<size_t>::max();
  std::vector<size_t> places;  // of each column in the file
  for (const auto& column : kColumns) {
    const auto at = std::find(header.begin(), header.end(), column.name);
    DISSENT_CHECK(at != header.end() || column.later, kData,
                  "{}:{}: expected a column '{}' in the header, found none", path, records[0].line,
                  column.name);
    places.push_back(at == header.end() ? kNowhere : at - header.begin());
  }

  // Convert each record field by field; errors name line and column.
  std::vector<ResultRow> rows;
  for (size_t i = 1; i < records.size(); ++i) {
    const auto& record = records[i];
    DISSENT_CHECK(record.fields.size() == header.size(), kData,
                  "{0}:{1}: expected {3} columns as the header has, found {2}", path, record.line,
                  record.fields.size(), header.size());

    ResultRow row;
    for (size_t c = 0; c < places.size(); ++c) {
      if (places[c] == kNowhere) continue;
      const std::string place =
          fmt::format("{}:{}: column {}", path, record.line, kColumns[c].name);
      std::visit([&](auto member) { parse_field(row.*member, record.fields[places[c]], place); },
                 kColumns[c].member);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace dissent
