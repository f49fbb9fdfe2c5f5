#include "storage/csv.hpp"

#include <algorithm>
#include <dissent/error.hpp>
#include <string_view>

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
                  "commas (and points in numbers)",
                  path, 1 + std::count(text.begin(), text.begin() + static_cast<long>(begin), '\n'),
                  name);
}

}  // namespace

std::vector<CsvRecord> parse_csv(const std::string& text, const std::string& path) {
  check_separator(text, path);

  std::vector<CsvRecord> records;
  int64_t line = 1;
  // Skip the byte order mark that spreadsheets write.
  for (size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; at < text.size();) {
    CsvRecord record{line, {}};
    for (bool more = true; more;) {
      std::string field;
      const auto place = [&] {
        return fmt::format("{}:{}: column {}", path, line, record.fields.size() + 1);
      };

      // A quoted field ends at a quote that is not doubled; commas and line breaks inside belong to
      // it.
      const bool quoted = at < text.size() && text[at] == '"';
      if (quoted) {
        for (++at;; ++at) {
          DISSENT_CHECK(at < text.size(), kData, "{}: expected a quote that closes, found the end",
                        place());
          if (text[at] == '"' && (at + 1 == text.size() || text[++at] != '"')) break;
          line += text[at] == '\n';
          field += text[at];
        }
        if (text[at] == '"') ++at;  // the closing quote is the last character
      }

      // A plain field ends at a comma or at the end of the line. After a quoted field nothing may
      // remain here.
      while (at < text.size() && text[at] != ',' && text[at] != '\n' && text[at] != '\r') {
        DISSENT_CHECK(!quoted && text[at] != '"', kData,
                      "{}: expected quotes around the whole field, found one inside", place());
        field += text[at++];
      }

      record.fields.push_back(std::move(field));
      more = at < text.size() && text[at] == ',';
      at += more;
    }

    // End of the record: LF or CRLF. A blank line gives one empty field and is skipped.
    if (at < text.size() && text[at] == '\r') ++at;
    if (at < text.size() && text[at] == '\n') ++at;
    ++line;
    if (record.fields.size() > 1 || !record.fields[0].empty()) records.push_back(std::move(record));
  }
  return records;
}

std::string csv_field(const std::string& value) {
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

std::string number_text(double value) { return fmt::format("{}", value); }

}  // namespace dissent
