#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/schema.hpp"

namespace dissent::config {

/// A schema as data: what `dissent config` prints and what a configuration's text is checked
/// against and hashed by, without the structs that the program computes with. So it can be written
/// down by the program that has the structs and read by one that has not.
class Description {
 public:
  /// Of a schema.
  static Description of(const Schema& schema);
  /// Of to_json's text. Error::kInternal if it is none.
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

/// A configuration held as text, all at its defaults until config::read fills it. Its schema gives
/// the same pages, errors, resolved text and hash as the schema that was described.
class DescribedConfig {
 public:
  explicit DescribedConfig(const Description& description);
  DescribedConfig(const DescribedConfig&) = delete;
  DescribedConfig& operator=(const DescribedConfig&) = delete;

  const Schema& schema() const { return schema_; }
  /// Back to the defaults: for the next one of thousands, whose schema need not be made anew.
  void reset();
  /// Value of a key of a table (not of a list of tables). Error::kInternal if there is none.
  Value value(const std::string& table, const std::string& key) const;
  /// Sets it. Error::kInternal if the value does not fit.
  void set(const std::string& table, const std::string& key, const Value& value);

 private:
  // What was assigned, as TOML; other keys are at their defaults.
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
