#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <typeinfo>
#include <utility>
#include <variant>
#include <vector>

namespace dissent {

/// Whether a key changes results (and is part of a run's configuration hash) or only how the run is
/// executed (grid, threads, paths, progress).
enum class Scope { kResult, kExecution };

/// A TOML value.
using Value = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                           std::vector<double>, std::vector<std::string>>;

/// The largest value of an integer option that has only a lower bound, such as a number of rows, so
/// that sizes and sums computed from it fit into 64 bits. Does not apply to lists, such as seeds.
constexpr double kMostInteger = 0x1p40;
/// As `max` of an integer option: any 64-bit integer.
constexpr double kAnyInteger = 0x1p63;

/// Properties of a key in addition to its type and default.
struct OptionInfo {
  std::string meaning;  ///< one line for users, unit included
  Scope scope = Scope::kResult;
  std::optional<double> min = {};         ///< inclusive; of each element of a list
  std::optional<double> max = {};         ///< inclusive
  std::vector<std::string> choices = {};  ///< allowed strings; empty: any
  std::string word = "auto";              ///< for std::optional members: the string for "no value"
  std::vector<std::string> former_names = {};  ///< earlier spellings of the key, still accepted
};

/// One key of a table: name, type, default, range, meaning, and how it is assigned. The single
/// source for parsing, `dissent config`, error messages and docs/configuration.md.
struct OptionSpec {
  std::string key;
  std::string type;  ///< "integer", "number", "string", "boolean", "integer or \"auto\"", "list of
                     ///< integers", ...
  std::string default_text;  ///< as TOML
  OptionInfo info;
  /// Checks a value and assigns it; returns what was expected ("an integer in 1 .. 64") if it does
  /// not fit, else nothing.
  std::function<std::optional<std::string>(void* table, const Value& value)> assign;
  /// The struct's value as TOML text.
  std::function<std::string(const void* table)> text;
};

/// A TOML table bound to a struct T. Defaults are those of a default-constructed T.
///   static const TableSpec spec =
///       TableOf<GridOptions>("grid", "Process grid")
///           .option("runs", &GridOptions::runs, {.meaning = "...", .min = 1});
/// Member types: bool, int64_t, double, std::string, std::optional<int64_t>, std::optional<double>
/// (OptionInfo::word for none), and vectors of int64_t, double, std::string.
struct TableSpec {
  std::string name;  ///< path, as "loss.a2d"; "" for the keys at the top
  std::string meaning;
  std::vector<OptionSpec> options;
  const std::type_info* struct_type =
      nullptr;  ///< type of T, so that a binding to another struct is an error
  /// The option of this key, or one that had this name before; nullptr if there is none.
  const OptionSpec* find(const std::string& key) const;
};

template <class T>
class TableOf : public TableSpec {
 public:
  TableOf(std::string table_name, std::string table_meaning)
      : TableSpec{std::move(table_name), std::move(table_meaning), {}, &typeid(T)} {}
  template <class V>
  TableOf& option(std::string key, V T::* member, OptionInfo info) {
    options.push_back(
        make_option<V>(std::move(key), std::move(info), T{}.*member,
                       [member](void* table) -> V& { return static_cast<T*>(table)->*member; }));
    return *this;
  }

 private:
  template <class V>
  static OptionSpec make_option(std::string key, OptionInfo info, const V& default_value,
                                std::function<V&(void*)> access);
};

/// Conversion between member types and TOML values; instantiated in options.cpp for the types
/// above.
template <class V>
struct OptionType {
  static std::string name(const OptionInfo& info);
  static std::string text(const V& value, const OptionInfo& info);
  /// Sets `out`, or returns what was expected.
  static std::optional<std::string> assign(V& out, const Value& value, const OptionInfo& info);
  /// Throws Error::kInternal unless the default is a value that a configuration may contain
  /// (`dissent config` prints defaults).
  static void check_default(const std::string& key, const V& value, const OptionInfo& info);
};

template <class T>
template <class V>
OptionSpec TableOf<T>::make_option(std::string key, OptionInfo info, const V& default_value,
                                   std::function<V&(void*)> access) {
  OptionType<V>::check_default(key, default_value, info);
  OptionSpec spec{std::move(key),
                  OptionType<V>::name(info),
                  OptionType<V>::text(default_value, info),
                  info,
                  {},
                  {}};
  spec.assign = [info, access](void* table, const Value& value) {
    return OptionType<V>::assign(access(table), value, info);
  };
  spec.text = [info, access](const void* table) {
    return OptionType<V>::text(access(const_cast<void*>(table)), info);
  };
  return spec;
}

/// Assigns a value to a key of the type "integer or string": an integer >= 1, or a string; stored
/// as text.
std::optional<std::string> assign_integer_or_string(std::string& out, const Value& value);

/// "1 .. 64", ">= 1", "<= 5", "one of none, hard", or "" if every value of the type is allowed.
std::string range_text(const OptionInfo& info);

/// What a value of this type must be, for messages: "an integer >= 1", "one of none, hard", "true
/// or false", "an integer >= 1 or \"auto\"".
std::string expected_text(const std::string& type, const OptionInfo& info);

/// "integer" for "list of integers"; "" if the type is not a list.
std::string element_type(const std::string& list_type);

/// A value as TOML text that reads back as the same value: strings escaped, numbers in their
/// shortest exact form with a decimal point or exponent.
std::string toml_text(const Value& value);

/// Number of insertions, deletions, replacements and swaps of neighbours that turn a into b,
/// ignoring case.
size_t edit_distance(const std::string& a, const std::string& b);

/// The candidate nearest to the word by edit distance, or nothing if none is close (for "did you
/// mean").
std::optional<std::string> nearest(const std::string& word,
                                   const std::vector<std::string>& candidates);

}  // namespace dissent
