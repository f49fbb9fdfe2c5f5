#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dissent {

/// A record of a CSV file and the line (from 1) on which it starts.
struct CsvRecord {
  int64_t line = 0;
  std::vector<std::string> fields;
};

/// Splits RFC 4180 text: commas, quoted fields that may hold commas, doubled quotes and line
/// breaks; LF or CRLF. Blank lines are skipped.
/// Error::kData with path, line and column for a quote that is not closed or inside a plain field;
/// with the separator where the first line has semicolons or tabs and no comma.
std::vector<CsvRecord> parse_csv(const std::string& text, const std::string& path);
/// The field, in quotes if it holds a comma, a quote or a line break.
std::string csv_field(const std::string& value);
/// Fields joined by commas and ended by LF.
std::string csv_line(const std::vector<std::string>& fields);
/// The number that the whole text is, as number_text writes it; nothing if it is none.
std::optional<double> parsed_number(const std::string& text);
/// The shortest text that reads back as the same double; "nan", "inf", "-inf".
std::string number_text(double value);

}  // namespace dissent
