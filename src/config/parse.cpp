#include "config/parse.hpp"

#include <fmt/format.h>
// For header-only toml++: release 3.3 asserts on "[=]", although it reports the error right after.
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

#include <cstdint>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>
#include <variant>

#include "config/document.hpp"
#include "core/toml_keys.hpp"

namespace dissent::config {
namespace {

Source place(const toml::source_region& region, const std::string& file) {
  return {file, static_cast<int64_t>(region.begin.line), static_cast<int64_t>(region.begin.column)};
}

Node convert(const toml::node& from, const std::string& file);

Node convert_table(const toml::table& from, const std::string& file) {
  Node node{Table{}, place(from.source(), file), {}};
  auto& table = std::get<Table>(node.data);
  for (auto&& [key, child] : from) {
    Node converted = convert(child, file);
    converted.key_source = place(key.source(), file);
    table.emplace(std::string(key.str()), std::move(converted));
  }
  return node;
}

Node convert(const toml::node& from, const std::string& file) {
  if (const auto* table = from.as_table()) return convert_table(*table, file);

  Node node{false, place(from.source(), file), {}};
  if (const auto* array = from.as_array()) {
    List list;
    for (const auto& element : *array) list.push_back(convert(element, file));
    node.data = std::move(list);
  } else if (const auto* boolean = from.as_boolean()) {
    node.data = boolean->get();
  } else if (const auto* integer = from.as_integer()) {
    node.data = integer->get();
  } else if (const auto* number = from.as_floating_point()) {
    node.data = number->get();
  } else if (const auto* string = from.as_string()) {
    node.data = string->get();
  } else {
    // Only dates and times remain: no key takes one, so their text is enough.
    std::ostringstream text;
    from.visit([&](const auto& value) { text << value; });
    node.data = Date{text.str()};
  }
  return node;
}

void forget_places(Node& node) {
  node.source = node.key_source = Source{"--set"};
  if (auto* table = std::get_if<Table>(&node.data))
    for (auto& [key, child] : *table) forget_places(child);
  if (auto* list = std::get_if<List>(&node.data))
    for (auto& element : *list) forget_places(element);
}

std::string long_key_problem(const LongKey& key) {
  return fmt::format("expected keys of at most {} parts, found one of {}", kMostKeyParts,
                     key.parts);
}

std::optional<Node> parsed(const std::string& text, std::string* problem = nullptr) {
  if (const auto key = long_key(text)) {
    if (problem) *problem = long_key_problem(*key);
    return std::nullopt;
  }
  try {
    return convert_table(toml::parse(std::string_view(text), std::string_view()), "--set");
  } catch (const toml::parse_error& error) {
    if (problem) *problem = std::string(error.description());
    return std::nullopt;
  }
}

/// Position of the '=' that ends the key (a quoted key may contain one).
size_t equals_sign(const std::string& text) {
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quote)
      quote = text[i] == quote ? 0 : quote;
    else if (text[i] == '"' || text[i] == '\'')
      quote = text[i];
    else if (text[i] == '=')
      return i;
  }
  return std::string::npos;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

Node parse_toml(const std::string& text, const std::string& file, ConfigErrors& errors) {
  if (const auto key = long_key(text)) {
    errors.add(Source{file, key->line, key->column}, "", long_key_problem(*key));
    return Node{Table{}, Source{file}, {}};
  }
  try {
    return convert_table(toml::parse(std::string_view(text), std::string_view(file)), file);
  } catch (const toml::parse_error& error) {
    errors.add(place(error.source(), file), "", std::string(error.description()));
    return Node{Table{}, Source{file}, {}};
  }
}

Node parse_override(const std::string& text, ConfigErrors& errors) {
  const Source source{"--set"};
  const Node nothing{Table{}, source, {}};
  const auto fail = [&](const std::string& message) {
    errors.add(source, "", fmt::format("{}: {}", toml_text(text), message));
    return nothing;
  };

  // Split into key and value first: their errors get clearer messages than a TOML parser's.
  const size_t equals = equals_sign(text);
  if (equals == std::string::npos || text.find('\n') != std::string::npos)
    return fail("expected table.key=value on one line");
  const std::string key = trimmed(text.substr(0, equals));
  const std::string value = trimmed(text.substr(equals + 1));
  if (const auto long_one = long_key(key)) return fail(long_key_problem(*long_one));
  if (!parsed(key + "=0"))
    return fail(
        fmt::format("expected a key such as loss.a2d.weight before '=', found \"{}\"", key));

  if (value.empty()) return fail("expected a value after '=' (the empty string is \"\")");
  if (key == kIncludeKey) return fail("expected include in a file, found it in an override");

  // A value that is not TOML is taken as a string, since shells remove quotes.
  std::string problem;
  auto node = parsed(text, &problem);
  if (!node && value.find_first_of("\"'[]{}") == std::string::npos)
    node = parsed(key + "=" + toml_text(value));
  if (!node) return fail(problem);

  // Line and column count within the override, which no file has.
  forget_places(*node);
  return *node;
}

}  // namespace dissent::config
