#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/schema.hpp"

namespace dissent::config {

/// A schema as data: enough to print `dissent config` and to check and hash a configuration,
/// without the structs that the program computes with. It can be written by the program that has
/// the structs and read by one that does not.
class Description {
 public:
  /// Describes a schema.
  static Description of(const Schema& schema);
  /// Reads the text of to_json. Error::kInternal if it is not such a text.
  static Description from_json(const std::string& text);
  std::string to_json() const;

 private:
  friend class DescribedConfig;
  struct Table {
    Binding::Kind kind = Binding::Kind::kTable;
    TableSpec spec;  // without functions
  };
  std::vector<Table> tables_;
};

/// A configuration stored as text, with all defaults until config::read fills it. Its schema gives
/// the same pages, errors, resolved text and hash as the schema that was described.
class DescribedConfig {
 public:
  /// All keys have their defaults, and optional tables are absent.
  explicit DescribedConfig(const Description& description);
  DescribedConfig(const DescribedConfig&) = delete;
  DescribedConfig& operator=(const DescribedConfig&) = delete;

  const Schema& schema() const { return schema_; }
  /// Resets to the defaults, so that thousands of configurations can be read with one schema.
  void reset();
  /// Value of a key of a table (not of a list of tables). Error::kInternal if it does not exist.
  Value value(const std::string& table, const std::string& key) const;
  /// Sets a value. Error::kInternal if it does not fit.
  void set(const std::string& table, const std::string& key, const Value& value);

 private:
  // The assigned values as TOML text; other keys have their defaults.
  struct Values {
    std::map<std::string, std::string> text;
  };
  struct Place {
    Values values;
    std::vector<Values> list;
    bool present = false;
  };
  static TableSpec bound(const TableSpec& table);
  const Binding& binding(const std::string& table) const;

  std::deque<Place> places_;
  Schema schema_;
};

}  // namespace dissent::config
