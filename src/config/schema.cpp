#include "config/schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <dissent/error.hpp>

#include "config/document.hpp"
#include "config/node.hpp"

namespace dissent::config {

std::string join_path(const std::string& table, const std::string& key) {
  return table.empty() ? key : table + "." + key;
}

bool Binding::changes_results() const {
  if (spec.options.empty()) return kind == Kind::kOptional;
  return std::any_of(spec.options.begin(), spec.options.end(),
                     [](const OptionSpec& option) { return option.info.scope == Scope::kResult; });
}

std::string Binding::header() const {
  if (spec.name.empty()) return "";
  return kind == Kind::kList ? "[[" + spec.name + "]]" : "[" + spec.name + "]";
}

std::vector<const Binding*> Schema::printed_order() const {
  std::vector<const Binding*> order;
  for (const auto& binding : bindings_) order.push_back(&binding);
  // In TOML, keys without a table have to come before the first header.
  std::stable_partition(order.begin(), order.end(),
                        [](const Binding* binding) { return binding->spec.name.empty(); });
  return order;
}

const Binding* Schema::find(const std::string& name) const {
  const auto at = std::find_if(bindings_.begin(), bindings_.end(),
                               [&](const Binding& binding) { return binding.spec.name == name; });
  return at == bindings_.end() ? nullptr : &*at;
}

bool Schema::holds_tables_below(const std::string& path) const {
  return std::any_of(bindings_.begin(), bindings_.end(), [&](const Binding& binding) {
    return binding.spec.name.starts_with(path + ".");
  });
}

std::vector<std::string> Schema::names_in(const std::string& path) const {
  std::vector<std::string> names;
  if (const Binding* binding = find(path))
    for (const auto& option : binding->spec.options) names.push_back(option.key);

  // Direct subtables: the next part of each longer path, once.
  const std::string prefix = path.empty() ? "" : path + ".";
  for (const auto& binding : bindings_) {
    const std::string& name = binding.spec.name;
    if (!name.starts_with(prefix) || name.size() == prefix.size()) continue;
    const std::string next =
        name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size());
    if (std::find(names.begin(), names.end(), next) == names.end()) names.push_back(next);
  }
  return names;
}

void Schema::check_struct(const TableSpec& spec, const std::type_info& type) {
  DISSENT_CHECK(spec.struct_type && *spec.struct_type == type, kInternal,
                "table [{}]: expected a binding to the struct of its spec, {}, found {}", spec.name,
                spec.struct_type ? spec.struct_type->name() : "none", type.name());
}

Schema& Schema::add_optional(const TableSpec& spec, void* target, bool& present) {
  Binding binding{.kind = Binding::Kind::kOptional, .spec = spec, .target = target};
  binding.set_present = [&present](bool now) { present = now; };
  binding.instances = [&present, target] {
    return present ? std::vector<const void*>{target} : std::vector<const void*>{};
  };
  return add(std::move(binding));
}

Schema& Schema::add(Binding binding) {
  const std::string& name = binding.spec.name;
  DISSENT_CHECK(!find(name), kInternal, "table [{}]: expected one binding, found two", name);
  DISSENT_CHECK(!name.empty() || binding.kind == Binding::Kind::kTable, kInternal,
                "top-level keys: expected a plain table, found an optional table or a list");

  // A path must name either a key or a table: check the new keys against all tables ...
  std::vector<std::string> keys;
  for (const auto& option : binding.spec.options) {
    const std::string path = join_path(name, option.key);
    DISSENT_CHECK(key_text(option.key) == option.key && path != kIncludeKey, kInternal,
                  "key {}: expected a name that needs no quotes and is not include", path);
    DISSENT_CHECK(std::find(keys.begin(), keys.end(), option.key) == keys.end(), kInternal,
                  "key {}: expected once, found twice", path);
    DISSENT_CHECK(!find(path) && !holds_tables_below(path), kInternal,
                  "key {}: expected a name that no table has, found a table", path);
    keys.push_back(option.key);
  }

  // ... and the new table against all keys.
  for (const auto& other : bindings_) {
    for (const auto& option : other.spec.options) {
      const std::string path = join_path(other.spec.name, option.key);
      DISSENT_CHECK(name != path && !name.starts_with(path + "."), kInternal,
                    "table [{}]: expected a name that no key has, found the key {}", name, path);
    }
  }

  bindings_.push_back(std::move(binding));
  return *this;
}

}  // namespace dissent::config
