#include "config/read.hpp"

#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

namespace dissent::config {
namespace {

class Reader {
 public:
  Reader(const Schema& schema, ConfigErrors& errors) : schema_(schema), errors_(errors) {}

  /// Reads a table. `name` is its name in the schema, `shown` the one for messages
  /// ("evaluate.sets[1]").
  void table(const Table& table, const std::string& name, const std::string& shown,
             const TableSpec* spec, void* target) {
    for (const auto& [key, node] : table) {
      const std::string path = join_path(name, key_text(key));
      const std::string shown_path = join_path(shown, key_text(key));

      const OptionSpec* option = spec ? spec->find(key) : nullptr;
      if (option && option->key != key && table.contains(option->key))
        errors_.add(node.key_source, shown_path,
                    fmt::format("expected only '{}', the present name of this key, found both",
                                option->key));
      else if (option)
        value(*option, node, shown_path, target);
      else if (const Binding* binding = schema_.find(path))
        bound(*binding, node, shown_path);
      else if (schema_.holds_tables_below(path))
        between(node, path, shown_path);
      else
        unknown(key, node, name, shown_path);
    }
  }

 private:
  void expected(const Node& node, const std::string& path, const std::string& what,
                const OptionInfo* info = nullptr) {
    std::string message = fmt::format("expected {}{} found {}", what,
                                      info && !info->choices.empty() ? ";" : ",", node.text());
    if (const auto* word = std::get_if<std::string>(&node.data); word && info) {
      std::vector<std::string> words = info->choices;
      if (what.ends_with('"')) words.push_back(info->word);
      if (const auto near = nearest(*word, words))
        message += fmt::format("; did you mean '{}'?", *near);
    }
    errors_.add(node.source, path, message);
  }

  void value(const OptionSpec& option, const Node& node, const std::string& path, void* target) {
    const std::string element = element_type(option.type);
    if (!element.empty() && node.list()) return list_value(option, element, node, path, target);

    const auto value = node.value();
    const auto wrong =
        value ? option.assign(target, *value) : expected_text(option.type, option.info);
    if (wrong) expected(node, path, *wrong, &option.info);
  }

  /// Each element is checked separately, so that the message can point at it.
  void list_value(const OptionSpec& option, const std::string& element, const Node& node,
                  const std::string& path, void* target) {
    bool fits = true;
    for (size_t i = 0; i < node.list()->size(); ++i) {
      const Node& part = (*node.list())[i];
      const auto alone = Node{List{part}, part.source, part.key_source}.value();
      if (alone && !option.assign(target, *alone)) continue;
      fits = false;
      expected(part, fmt::format("{}[{}]", path, i), expected_text(element, option.info),
               &option.info);
    }
    if (fits) option.assign(target, *node.value());
  }

  void bound(const Binding& binding, const Node& node, const std::string& shown) {
    const std::string& name = binding.spec.name;
    if (binding.kind == Binding::Kind::kList) return elements(binding, node, shown);

    // `[loss]` with `a2d = false` turns a table off that an included file has turned on.
    const auto* present = std::get_if<bool>(&node.data);
    if (binding.kind == Binding::Kind::kOptional && present) return binding.set_present(*present);

    if (!node.table())
      return expected(node, shown,
                      binding.kind == Binding::Kind::kOptional ? "a table, or false to leave it out"
                                                               : "a table");
    if (binding.kind == Binding::Kind::kOptional) binding.set_present(true);
    table(*node.table(), name, shown, &binding.spec, binding.target);
  }

  void elements(const Binding& binding, const Node& node, const std::string& shown) {
    const std::string what = fmt::format("an array of tables, [[{}]]", binding.spec.name);
    if (!node.list()) return expected(node, shown, what);
    for (size_t i = 0; i < node.list()->size(); ++i) {
      const Node& element = (*node.list())[i];
      const std::string shown_element = fmt::format("{}[{}]", shown, i);
      if (!element.table())
        expected(element, shown_element, "a table");
      else
        table(*element.table(), binding.spec.name, shown_element, &binding.spec, binding.append());
    }
  }

  /// A table without own keys, such as [loss] above [loss.a2d].
  void between(const Node& node, const std::string& name, const std::string& shown) {
    if (!node.table()) return expected(node, shown, "a table");
    table(*node.table(), name, shown, nullptr, nullptr);
  }

  void unknown(const std::string& key, const Node& node, const std::string& name,
               const std::string& shown) {
    const bool is_table =
        node.table() || (node.list() && !node.list()->empty() && node.list()->front().table());
    std::string message = is_table ? "unknown table" : "unknown key";

    auto near = nearest(key, schema_.names_in(name));
    // A key of another table: written above the table's header, or below another one.
    for (const auto& binding : schema_.bindings())
      if (!near && binding.spec.find(key)) near = join_path(binding.spec.name, key);
    if (near) message += fmt::format("; did you mean '{}'?", *near);
    errors_.add(node.key_source, shown, message);
  }

  const Schema& schema_;
  ConfigErrors& errors_;
};

}  // namespace

void read(const Document& document, const Schema& schema, ConfigErrors& errors) {
  for (const auto& binding : schema.bindings()) {
    if (binding.set_present) binding.set_present(false);
    if (binding.clear) binding.clear();
  }

  // Top-level keys are a table with an empty name, which a schema need not have.
  const Binding* top = schema.find("");
  Reader(schema, errors)
      .table(*document.root().table(), "", "", top ? &top->spec : nullptr,
             top ? top->target : nullptr);
}

void read(const Document& document, const Schema& schema) {
  ConfigErrors errors(document);
  read(document, schema, errors);
  errors.raise();
}

}  // namespace dissent::config
