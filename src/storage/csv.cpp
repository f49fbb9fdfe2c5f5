#include "storage/csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <dissent/error.hpp>
#include <string_view>
#include <system_error>
#include <utility>

namespace dissent {
namespace {

// Spreadsheets write semicolons where the comma is the decimal mark, and tabs when they export
// text: every record would be a single field.
void check_separator(std::string_view text, const std::string& path) {
  const size_t begin = std::min(text.find_first_not_of("\r\n"), text.size());
  const auto first = text.substr(begin, text.find_first_of("\r\n", begin) - begin);
  if (first.find(',') != std::string_view::npos) return;
  for (const auto& [separator, name] : {std::pair(';', "semicolons"), {'\t', "tabs"}})
    DISSENT_CHECK(first.find(separator) == std::string_view::npos, kData,
                  "{}:{}: expected columns separated by commas, found {}; save it as CSV with "
                  "commas (and decimal points)",
                  path, 1 + std::count(text.begin(), text.begin() + static_cast<long>(begin), '\n'),
                  name);
}

// Reads the fields of a text one after another.
class CsvReader {
 public:
  CsvReader(const std::string& text, const std::string& path) : text_(text), path_(path) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;  // the byte order mark that spreadsheets write
  }

  bool at_end() const { return at_ >= text_.size(); }

  CsvRecord record() {
    CsvRecord record{line_, {}};
    do record.fields.push_back(field(record.fields.size() + 1));
    while (take(','));

    // The end of a line is LF or CRLF.
    take('\r');
    take('\n');
    ++line_;
    return record;
  }

 private:
  bool take(char c) {
    const bool found = at_ < text_.size() && text_[at_] == c;
    if (found) ++at_;
    return found;
  }

  std::string field(size_t column) {
    const bool quoted = take('"');
    std::string field = quoted ? quoted_text(column) : "";

    // A plain field ends at a comma or at the end of the line. After a quoted field nothing may
    // remain here.
    while (!at_end() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') {
      DISSENT_CHECK(!quoted && text_[at_] != '"', kData,
                    "{}:{}: column {}: expected quotes around the whole field, found one inside",
                    path_, line_, column);
      field += text_[at_++];
    }
    return field;
  }

  // Ends at a quote that is not doubled; commas and line breaks inside belong to the field.
  std::string quoted_text(size_t column) {
    // The line is counted inside the field too: errors name the line in the file.
    std::string text;
    while (true) {
      DISSENT_CHECK(!at_end(), kData,
                    "{}:{}: column {}: expected a closing quote, found the end of the file", path_,
                    line_, column);

      const char c = text_[at_++];
      if (c == '"' && !take('"')) return text;

      if (c == '\n') ++line_;
      text += c;
    }
  }

  const std::string& text_;
  const std::string& path_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::vector<CsvRecord> parse_csv(const std::string& text, const std::string& path) {
  check_separator(text, path);
  std::vector<CsvRecord> records;
  CsvReader reader(text, path);
  while (!reader.at_end()) {
    auto record = reader.record();
    const bool blank = record.fields.size() == 1 && record.fields[0].empty();
    if (!blank) records.push_back(std::move(record));
  }
  return records;
}

std::string csv_field(const std::string& value) {
  // Quotes only where they are needed keep the file easy to read and to compare.
  if (value.find_first_of(",\"\r\n") == std::string::npos) return value;
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
  return out;
}

std::string csv_line(const std::vector<std::string>& fields) {
  std::string out;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) out += ',';
    out += csv_field(fields[i]);
  }
  out += '\n';
  return out;
}

std::optional<double> parsed_number(const std::string& text) {
  double value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = stop == text.data() + text.size();
  return code == std::errc() && whole ? std::optional(value) : std::nullopt;
}

std::string number_text(double value) { return fmt::format("{}", value); }

}  // namespace dissent
