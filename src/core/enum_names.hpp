#pragma once
#include <dissent/error.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dissent {

/// A value of an enumeration and the word for it in files, options and messages. Each enumeration
/// of words has one table of these, which is searched in both directions.
template <class Enum>
struct EnumName {
  Enum value;
  const char* name;
};

/// The word of a value; "" if the table has none.
template <class Enum, size_t N>
constexpr const char* name_in(const EnumName<Enum> (&table)[N], Enum value) {
  for (const auto& entry : table)
    if (entry.value == value) return entry.name;
  return "";
}

/// The value of a word, or nothing for an unknown one.
template <class Enum, size_t N>
constexpr std::optional<Enum> value_in(const EnumName<Enum> (&table)[N], std::string_view name) {
  for (const auto& entry : table)
    if (entry.name == name) return entry.value;
  return std::nullopt;
}

/// The words, in the order of the table.
template <class Enum, size_t N>
std::vector<std::string> name_list(const EnumName<Enum> (&table)[N]) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.name);
  return names;
}

/// "csv, markdown, latex": what an error message offers.
template <class Enum, size_t N>
std::string names_in(const EnumName<Enum> (&table)[N]) {
  std::string text;
  for (const auto& entry : table) {
    if (!text.empty()) text += ", ";
    text += entry.name;
  }
  return text;
}

/// The value of a word. Error::kUsage for an unknown one; `what` begins its message.
template <class Enum, size_t N>
Enum checked_value_in(const EnumName<Enum> (&table)[N], const char* what, const std::string& name) {
  const auto value = value_in(table, name);
  DISSENT_CHECK(value, kUsage, "{}: expected one of {}, found '{}'", what, names_in(table), name);
  return *value;
}

}  // namespace dissent
