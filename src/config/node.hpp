#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/options.hpp"

namespace dissent::config {

/// Place of a value in the configuration files.
struct Source {
  std::string file;    ///< path as given or as in an include; "--set" for an override
  int64_t line = 0;    ///< from 1; 0: no line (an override, or a file as a whole)
  int64_t column = 0;  ///< from 1, in characters
  /// "run.toml:12:5", "run.toml" or "--set".
  std::string text() const;
};

struct Node;
using List = std::vector<Node>;
using Table = std::map<std::string, Node>;

/// A TOML date or time; none of our keys has this type, so only its text is stored, for messages.
struct Date {
  std::string text;
};

/// A TOML value with its place. (A separate tree, so that only parse.cpp includes toml++.)
struct Node {
  std::variant<bool, int64_t, double, std::string, Date, List, Table> data;
  Source source;      ///< of the value, or of a table's header
  Source key_source;  ///< of the key before it

  const Table* table() const { return std::get_if<Table>(&data); }
  const List* list() const { return std::get_if<List>(&data); }
  /// The value for assignment to an option; empty for tables, dates, lists of these, and lists of
  /// mixed types. In a list of integers and numbers all count as numbers. An empty list is a list
  /// of integers.
  std::optional<Value> value() const;
  /// Text for messages: TOML, truncated after about 60 bytes, or "a table".
  std::string text() const;
};

/// Merges `over` into `base`: tables are merged key by key, everything else is replaced.
void merge(Node& base, Node over);

/// A key as written in a path: bare if TOML allows it, else quoted.
std::string key_text(const std::string& key);

}  // namespace dissent::config
