#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/options.hpp"

namespace dissent::config {

/// Where something of the configuration was written.
struct Source {
  std::string file;    ///< path as given or as an include names it; "--set" for an override
  int64_t line = 0;    ///< from 1; 0: no line (an override, or a file as a whole)
  int64_t column = 0;  ///< from 1, in characters
  /// "run.toml:12:5", "run.toml" or "--set".
  std::string text() const;
};

struct Node;
using List = std::vector<Node>;
using Table = std::map<std::string, Node>;

/// A TOML date or time; no key of ours takes one, so only its text is kept, for messages.
struct Date {
  std::string text;
};

/// A TOML value that remembers where it was written. (A tree of our own, so that only parse.cpp
/// includes toml++.)
struct Node {
  std::variant<bool, int64_t, double, std::string, Date, List, Table> data;
  Source source;      ///< of the value, or of a table's header
  Source key_source;  ///< of the key before it

  const Table* table() const { return std::get_if<Table>(&data); }
  const List* list() const { return std::get_if<List>(&data); }
  /// The value as options take it; nothing for tables, dates, lists of such, and lists of unlike
  /// elements. Integers beside numbers count as numbers. An empty list is a list of integers.
  std::optional<Value> value() const;
  /// As a message shows it: TOML text, cut after about 60 bytes, or "a table".
  std::string text() const;
};

/// Puts `over` on top of `base`: tables merge key by key, everything else is replaced.
void merge(Node& base, Node over);

/// A key as it stands in a path: bare if TOML allows it, else quoted.
std::string key_text(const std::string& key);

}  // namespace dissent::config
