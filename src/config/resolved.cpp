#include "config/resolved.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>

#include "config/document.hpp"
#include "config/errors.hpp"
#include "config/parse.hpp"

namespace dissent::config {
namespace {

std::string table_text(const Binding& binding, const void* instance, bool results_only) {
  std::string text;
  for (const auto& option : binding.spec.options)
    if (!results_only || option.info.scope == Scope::kResult)
      text += fmt::format("{} = {}\n", option.key, option.text(instance));
  return binding.spec.name.empty() ? text : binding.header() + "\n" + text;
}

std::string resolved(const Schema& schema, bool results_only) {
  std::string text;
  for (const Binding* binding : schema.printed_order()) {
    // Tables without influence on results are left out of the hash: neither threads nor folders
    // make another run.
    if (results_only && !binding->changes_results()) continue;
    // A list of tables prints each of its elements.
    for (const void* instance : binding->instances()) {
      if (!text.empty()) text += "\n";
      text += table_text(*binding, instance, results_only);
    }
  }
  return text;
}

/// Compares two documents table by table.
class Comparison {
 public:
  Comparison(const Document& file, const Document& current, const Schema& schema)
      : file_(file), current_(current), schema_(schema) {}

  std::vector<std::string> lines() {
    for (const Binding* binding : schema_.printed_order()) {
      const std::string& name = binding->spec.name;
      if (!binding->changes_results()) continue;

      // An optional table that only one side has is one difference, not one for each of its keys.
      if (binding->kind == Binding::Kind::kList)
        lists(*binding);
      else if (binding->kind == Binding::Kind::kTable || both_present(name))
        keys(*binding, name);
    }
    unknown(file_.root(), "", "");
    return lines_;
  }

 private:
  static const char* presence(const Node* node) { return node ? "present" : "not"; }

  void differ(const std::string& key, const std::string& in_file, const std::string& in_current) {
    lines_.push_back(
        fmt::format("{}: {} in the file, {} in this configuration", key, in_file, in_current));
  }

  bool both_present(const std::string& name) {
    const Node* a = file_.find(name);
    const Node* b = current_.find(name);
    if (!a != !b) differ(name, presence(a), presence(b));
    return a && b;
  }

  static std::string value_text(const Node* node, const OptionSpec& option) {
    if (!node) return option.default_text;
    const auto value = node->value();
    return value ? toml_text(*value) : node->text();
  }

  void keys(const Binding& binding, const std::string& table) {
    for (const auto& option : binding.spec.options) {
      if (option.info.scope != Scope::kResult) continue;
      const std::string key = join_path(table, option.key);
      // A key may have its former name in either document. One that is not written counts with its
      // default.
      const auto find = [&](const Document& document) {
        const Node* node = document.find(key);
        for (const auto& former : option.info.former_names)
          if (!node) node = document.find(join_path(table, former));
        return node;
      };
      const std::string a = value_text(find(file_), option), b = value_text(find(current_), option);
      const auto shown = [&](const Document& document, const std::string& text) {
        return text + (find(document) ? "" : " (default)");
      };
      if (a != b) differ(key, shown(file_, a), shown(current_, b));
    }
  }

  void lists(const Binding& binding) {
    const std::string& name = binding.spec.name;
    const auto size = [&](const Document& document) {
      const Node* node = document.find(name);
      return node && node->list() ? node->list()->size() : 0;
    };
    const size_t a = size(file_), b = size(current_);
    if (a != b) differ(name, fmt::format("{} tables", a), fmt::format("{} tables", b));
    for (size_t i = 0; i < std::min(a, b); ++i) keys(binding, fmt::format("{}[{}]", name, i));
  }

  /// Keys in the file that this program does not know; they may have changed the results.
  void unknown(const Node& node, const std::string& name, const std::string& shown) {
    // Keys of the schema were compared before; what is left are names that it does not have.
    const Binding* binding = schema_.find(name);
    for (const auto& [key, child] : *node.table()) {
      const std::string path = join_path(name, key_text(key));
      const std::string shown_path = join_path(shown, key_text(key));
      if (binding && binding->spec.find(key)) continue;

      if (!schema_.find(path) && !schema_.holds_tables_below(path))
        differ(shown_path, child.text(), "unknown");
      else if (child.table())
        unknown(child, path, shown_path);
      for (size_t i = 0; schema_.find(path) && child.list() && i < child.list()->size(); ++i)
        if ((*child.list())[i].table())
          unknown((*child.list())[i], path, fmt::format("{}[{}]", shown_path, i));
    }
  }

  const Document& file_;
  const Document& current_;
  const Schema& schema_;
  std::vector<std::string> lines_;
};

}  // namespace

std::string to_toml(const Schema& schema) { return resolved(schema, false); }

std::string result_toml(const Schema& schema) { return resolved(schema, true); }

std::string config_hash(const Schema& schema) {
  const std::string text = resolved(schema, true);
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

std::vector<std::string> differing_keys(const std::string& file_text, const std::string& this_text,
                                        const Schema& schema, const std::string& file) {
  ConfigErrors errors;
  const Document saved(file, parse_toml(file_text, file, errors));
  const Document current("this configuration", parse_toml(this_text, "this configuration", errors));
  errors.raise();
  return Comparison(saved, current, schema).lines();
}

std::string difference(const std::string& file_text, const std::string& this_text,
                       const Schema& schema, const std::string& file) {
  const auto keys = differing_keys(file_text, this_text, schema, file);
  if (keys.empty()) return "the same keys, written by another version of the program";
  return fmt::format("{}", fmt::join(keys, "; "));
}

}  // namespace dissent::config
