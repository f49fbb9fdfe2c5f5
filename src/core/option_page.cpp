#include "core/option_page.hpp"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

namespace dissent {

std::string markdown_cell(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += c == '|' ? std::string("\\|") : c == '<' ? std::string("&lt;") : std::string(1, c);
  return out;
}

std::string markdown_keys(const TableSpec& table) {
  if (table.options.empty()) return "No options.\n";
  std::string out = "| key | type | default | range | meaning |\n|---|---|---|---|---|\n";
  for (const auto& option : table.options)
    out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", option.key, markdown_cell(option.type),
                       markdown_cell(option.default_text), markdown_cell(range_text(option.info)),
                       markdown_cell(option.info.meaning));
  return out;
}

void set_option(const std::string& owner, const TableSpec& table, void* options,
                const std::string& key, const Value& value) {
  const auto* spec = table.find(key);
  if (!spec) {
    std::vector<std::string> known;
    for (const auto& option : table.options) known.push_back(option.key);
    const auto near = nearest(key, known);
    DISSENT_FAIL(kUsage, "{}: expected {}, found option '{}'{}", owner,
                 known.empty() ? "no options" : fmt::format("options {}", fmt::join(known, ", ")),
                 key, near ? fmt::format("; did you mean '{}'?", *near) : "");
  }

  const auto expected = spec->assign(options, value);
  DISSENT_CHECK(!expected, kUsage, "{}: {}: expected {}, found {}", owner, key, *expected,
                toml_text(value));
}

}  // namespace dissent
