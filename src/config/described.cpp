#include "config/described.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "config/describe.hpp"
#include "config/parse.hpp"

namespace dissent::config {
namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::pair<const char*, Binding::Kind>>& kinds() {
  static const std::vector<std::pair<const char*, Binding::Kind>> names{
      {"table", Binding::Kind::kTable},
      {"optional", Binding::Kind::kOptional},
      {"list", Binding::Kind::kList}};
  return names;
}

Json option_json(const OptionSpec& option) {
  Json json{{"key", option.key},
            {"type", option.type},
            {"default", option.default_text},
            {"meaning", option.info.meaning},
            {"scope", scope_name(option.info.scope)}};

  // Absent fields are left out, so that the file holds only what a key has.
  if (option.info.min) json["min"] = *option.info.min;
  if (option.info.max) json["max"] = *option.info.max;
  if (!option.info.choices.empty()) json["choices"] = option.info.choices;
  // Types such as: integer or "auto", where the word stands for no value.
  if (option.type.ends_with('"')) json["word"] = option.info.word;
  if (!option.info.former_names.empty()) json["former_names"] = option.info.former_names;
  return json;
}

OptionSpec option_of(const Json& json) {
  OptionSpec option{json.at("key"), json.at("type"), json.at("default"), {}, {}, {}};
  option.info.meaning = json.at("meaning");
  option.info.scope =
      json.at("scope") == scope_name(Scope::kResult) ? Scope::kResult : Scope::kExecution;

  // Properties that an option does not have are left out of the JSON.
  if (json.contains("min")) option.info.min = json.at("min").get<double>();
  if (json.contains("max")) option.info.max = json.at("max").get<double>();
  if (json.contains("choices"))
    option.info.choices = json.at("choices").get<std::vector<std::string>>();
  if (json.contains("word")) option.info.word = json.at("word");
  if (json.contains("former_names"))
    option.info.former_names = json.at("former_names").get<std::vector<std::string>>();
  return option;
}

// The TOML text of a value of this type, or what was expected.
using Assigned = std::optional<std::string> (*)(std::string& text, const Value& value,
                                                const OptionInfo& info);
template <class V>
std::optional<std::string> assign_as(std::string& text, const Value& value,
                                     const OptionInfo& info) {
  V typed{};
  auto expected = OptionType<V>::assign(typed, value, info);
  if (!expected) text = OptionType<V>::text(typed, info);
  return expected;
}

std::optional<std::string> assign_either(std::string& text, const Value& value, const OptionInfo&) {
  std::string taken;
  auto expected = assign_integer_or_string(taken, value);
  if (!expected) text = toml_text(taken);
  return expected;
}

Assigned assigner(const std::string& type) {
  // A description has no C++ types, so the type's text selects how values are checked; the messages
  // are then those of the declared table.
  const bool or_word = type.ends_with('"');
  if (type == "boolean") return assign_as<bool>;
  if (type == "integer") return assign_as<int64_t>;
  if (type == "number") return assign_as<double>;
  if (type == "string") return assign_as<std::string>;
  if (or_word && type.starts_with("integer or ")) return assign_as<std::optional<int64_t>>;
  if (or_word && type.starts_with("number or ")) return assign_as<std::optional<double>>;
  if (type == "integer or string") return assign_either;
  if (type == "list of integers") return assign_as<std::vector<int64_t>>;
  if (type == "list of numbers") return assign_as<std::vector<double>>;
  if (type == "list of strings") return assign_as<std::vector<std::string>>;
  DISSENT_FAIL(kInternal, "a key of type '{}': expected one of the types of OptionType", type);
}

}  // namespace

Description Description::of(const Schema& schema) {
  Description out;
  for (const auto& binding : schema.bindings()) {
    // The functions of a spec (assign, text) belong to a struct; a description keeps only data.
    Table table{binding.kind, {binding.spec.name, binding.spec.meaning, {}, nullptr}};
    for (const auto& option : binding.spec.options)
      table.spec.options.push_back(
          {option.key, option.type, option.default_text, option.info, {}, {}});
    out.tables_.push_back(std::move(table));
  }
  return out;
}

std::string Description::to_json() const {
  Json tables = Json::array();
  for (const auto& table : tables_) {
    Json options = Json::array();
    for (const auto& option : table.spec.options) options.push_back(option_json(option));

    const char* kind = "";
    for (const auto& [name, value] : kinds())
      if (value == table.kind) kind = name;
    tables.push_back({{"table", table.spec.name},
                      {"kind", kind},
                      {"meaning", table.spec.meaning},
                      {"keys", options}});
  }
  return tables.dump(1);
}

Description Description::from_json(const std::string& text) {
  // The text comes from another program of this installation, so a text that does not fit is a
  // defect.
  Description out;
  try {
    for (const auto& json : Json::parse(text)) {
      Table table{Binding::Kind::kTable, {json.at("table"), json.at("meaning"), {}, nullptr}};
      for (const auto& [name, kind] : kinds())
        if (json.at("kind") == name) table.kind = kind;

      for (const auto& option : json.at("keys")) table.spec.options.push_back(option_of(option));
      out.tables_.push_back(std::move(table));
    }
  } catch (const Json::exception& error) {
    DISSENT_FAIL(kInternal, "the description of a schema cannot be read: {}", error.what());
  }
  return out;
}

TableSpec DescribedConfig::bound(const TableSpec& table) {
  TableSpec spec = table;
  spec.struct_type = &typeid(Values);
  for (auto& option : spec.options) {
    // A value is kept as its TOML text: that is all that hashes, resolved files and messages need.
    const auto assign = assigner(option.type);
    option.assign = [assign, key = option.key, info = option.info](void* target,
                                                                   const Value& value) {
      std::string text;
      auto expected = assign(text, value, info);
      if (!expected) static_cast<Values*>(target)->text[key] = std::move(text);
      return expected;
    };

    option.text = [key = option.key, otherwise = option.default_text](const void* target) {
      const auto& text = static_cast<const Values*>(target)->text;
      const auto found = text.find(key);
      return found == text.end() ? otherwise : found->second;
    };
  }
  return spec;
}

DescribedConfig::DescribedConfig(const Description& description) {
  for (const auto& table : description.tables_) {
    // The schema keeps pointers to these places, so the container never moves its elements.
    auto& place = places_.emplace_back();
    const auto spec = bound(table.spec);
    if (table.kind == Binding::Kind::kList)
      schema_.tables(spec, place.list);
    else if (table.kind == Binding::Kind::kTable)
      schema_.table(spec, place.values);
    else if (spec.options.empty())
      schema_.optional_table(spec.name, spec.meaning, place.present);
    else
      schema_.optional_table(spec, place.values, place.present);
  }
}

void DescribedConfig::reset() {
  for (auto& place : places_) {
    place.values.text.clear();
    place.list.clear();
    place.present = false;
  }
}

const Binding& DescribedConfig::binding(const std::string& table) const {
  const auto* found = schema_.find(table);
  DISSENT_CHECK(found && found->target, kInternal, "the schema has no table '{}'", table);
  return *found;
}

Value DescribedConfig::value(const std::string& table, const std::string& key) const {
  const auto& found = binding(table);
  const auto* option = found.spec.find(key);
  DISSENT_CHECK(option, kInternal, "the table '{}' has no key '{}'", table, key);

  // Parsed again: the place holds the TOML text of the value.
  ConfigErrors errors;
  const auto node = parse_toml("value = " + option->text(found.target), key, errors);
  errors.raise();

  const auto value = node.table()->at("value").value();
  DISSENT_CHECK(value, kInternal, "the key '{}' has no value", key);
  return *value;
}

void DescribedConfig::set(const std::string& table, const std::string& key, const Value& value) {
  const auto& found = binding(table);
  const auto* option = found.spec.find(key);
  DISSENT_CHECK(option && !option->assign(found.target, value), kInternal,
                "the key '{}' does not take {}", key, toml_text(value));
}

}  // namespace dissent::config
