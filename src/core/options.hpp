#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <typeinfo>
#include <variant>
#include <vector>

namespace dissent {

/// Whether a key changes results (part of a run's configuration hash) or only how the run is
/// executed (grid, threads, paths, progress).
enum class Scope { kResult, kExecution };

/// A value as TOML gives it.
using Value = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                           std::vector<double>, std::vector<std::string>>;

/// The largest integer of an option that has a lower bound alone, such as a number of rows: sizes
/// and sums made of it fit into 64 bits. Lists are without it, as seeds are.
constexpr double kMostInteger = 0x1p40;
/// As `max` of an integer: any that 64 bits hold.
constexpr double kAnyInteger = 0x1p63;

/// What a table's author says of a key beside its type and default.
struct OptionInfo {
  std::string meaning;  ///< one line for users, unit included
  Scope scope = Scope::kResult;
  std::optional<double> min = {};         ///< inclusive; of each element of a list
  std::optional<double> max = {};         ///< inclusive
  std::vector<std::string> choices = {};  ///< allowed strings; empty: any
  std::string word = "auto";  ///< for std::optional members: the string that stands for "no number"
  std::vector<std::string> former_names = {};  ///< earlier spellings of the key, still accepted
};

/// One key of a table: name, type, default, range, meaning, and how it goes into its struct. The
/// single source of parsing, `dissent config`, error messages and docs/configuration.md.
struct OptionSpec {
  std::string key;
  std::string type;  ///< "integer", "number", "string", "boolean", "integer or \"auto\"", "list of
                     ///< integers", ...
  std::string default_text;  ///< as TOML
  OptionInfo info;
  /// Puts a checked value into the struct; returns what was expected ("an integer in 1 .. 64") if
  /// it does not fit, else nothing.
  std::function<std::optional<std::string>(void* table, const Value& value)> assign;
  /// The struct's value as TOML text.
  std::function<std::string(const void* table)> text;
};

/// A TOML table bound to a struct T. Defaults are those of a default-constructed T.
///   static const TableSpec spec = TableOf<GridOptions>("grid", "How ranks are
///       split").option("runs", &GridOptions::runs, {.meaning = "...", .min = 1});
/// Member types: bool, int64_t, double, std::string, std::optional<int64_t>, std::optional<double>
/// (the word for none), and vectors of int64_t, double, std::string.
struct TableSpec {
  std::string name;  ///< path, as "loss.a2d"; "" for the keys at the top
  std::string meaning;
  std::vector<OptionSpec> options;
  const std::type_info* struct_type =
      nullptr;  ///< of T, so that a binding to another struct is caught
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

/// How member types meet TOML values; instantiated in options.cpp for the types above.
template <class V>
struct OptionType {
  static std::string name(const OptionInfo& info);
  static std::string text(const V& value, const OptionInfo& info);
  /// Sets `out`, or returns what was expected.
  static std::optional<std::string> assign(V& out, const Value& value, const OptionInfo& info);
  /// Throws Error::kInternal if the default is not a value that a file may hold (`dissent config`
  /// prints defaults).
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

/// How a key of the type "integer or string" takes a value: a whole number from 1 on, or a string,
/// kept as text.
std::optional<std::string> assign_integer_or_string(std::string& out, const Value& value);

/// "1 .. 64", ">= 1", "<= 5", "one of none, hard", or "" if anything of the type goes.
std::string range_text(const OptionInfo& info);

/// What a value of this type must be, for messages: "an integer >= 1", "one of none, hard", "true
/// or false", "an integer >= 1 or \"auto\"".
std::string expected_text(const std::string& type, const OptionInfo& info);

/// "integer" of "list of integers"; "" if the type is not a list.
std::string element_type(const std::string& list_type);

/// A value as TOML text that reads back as the same value: strings escaped, numbers in their
/// shortest exact form and with a point or exponent.
std::string toml_text(const Value& value);

/// Insertions, deletions, replacements and swaps of neighbours that turn a into b; upper and lower
/// case are the same.
size_t edit_distance(const std::string& a, const std::string& b);

/// The candidate nearest to the word by edit distance, or nothing if none is near (for "did you
/// mean").
std::optional<std::string> nearest(const std::string& word,
                                   const std::vector<std::string>& candidates);

}  // namespace dissent
