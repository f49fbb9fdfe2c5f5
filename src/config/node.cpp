#include "config/node.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <type_traits>

namespace dissent::config {
namespace {

constexpr size_t kShownBytes = 60;

template <class T>
bool every(const List& list) {
  return std::all_of(list.begin(), list.end(),
                     [](const Node& node) { return std::holds_alternative<T>(node.data); });
}

template <class T>
std::vector<T> elements(const List& list) {
  std::vector<T> out;
  for (const auto& node : list) out.push_back(std::get<T>(node.data));
  return out;
}

std::optional<Value> list_value(const List& list) {
  if (every<int64_t>(list)) return elements<int64_t>(list);
  if (every<std::string>(list)) return elements<std::string>(list);

  // Integers and numbers may be mixed; anything else is not a value of an option.
  std::vector<double> numbers;
  for (const auto& node : list) {
    if (const auto* number = std::get_if<double>(&node.data))
      numbers.push_back(*number);
    else if (const auto* integer = std::get_if<int64_t>(&node.data))
      numbers.push_back(static_cast<double>(*integer));
    else
      return std::nullopt;
  }
  return numbers;
}

std::string cut(std::string text) {
  if (text.size() <= kShownBytes) return text;
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

std::string whole_text(const Node& node) {
  if (node.table()) return "a table";
  if (const auto* date = std::get_if<Date>(&node.data)) return date->text;
  if (const auto* list = node.list()) {
    if (!list->empty() && every<Table>(*list)) return "an array of tables";
    std::vector<std::string> parts;
    for (const auto& element : *list) parts.push_back(whole_text(element));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
  return toml_text(*node.value());
}

}  // namespace

std::string Source::text() const {
  return line > 0 ? fmt::format("{}:{}:{}", file, line, column) : file;
}

std::optional<Value> Node::value() const {
  // No option takes a date or a table.
  return std::visit(
      [](const auto& held) -> std::optional<Value> {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, Date> || std::is_same_v<T, Table>)
          return std::nullopt;
        else if constexpr (std::is_same_v<T, List>)
          return list_value(held);
        else
          return Value(held);
      },
      data);
}

std::string Node::text() const { return cut(whole_text(*this)); }

void merge(Node& base, Node over) {
  auto* below = std::get_if<Table>(&base.data);
  auto* above = std::get_if<Table>(&over.data);
  if (!below || !above) {
    base = std::move(over);
    return;
  }

  for (auto& [key, node] : *above) {
    // Tables are merged key by key; any other value, lists included, replaces the one below.
    const auto [at, added] = below->try_emplace(key, node);
    if (!added) merge(at->second, std::move(node));
  }

  if (over.source.line > 0) {  // an override has no line to point at
    base.source = over.source;
    base.key_source = over.key_source;
  }
}

std::string key_text(const std::string& key) {
  const auto bare = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !key.empty() && std::all_of(key.begin(), key.end(), bare) ? key : toml_text(key);
}

}  // namespace dissent::config
