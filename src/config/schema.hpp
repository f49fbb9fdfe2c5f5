#pragma once
#include <functional>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "core/options.hpp"

namespace dissent::config {

/// A table of the configuration and the struct, or structs, that it fills.
struct Binding {
  enum class Kind {
    kTable,     ///< always present; keys that are not written keep their defaults
    kOptional,  ///< present if written, such as [loss.a2d]; `loss.a2d = false` removes it again,
                ///< `true` enables it with its defaults
    kList,      ///< any number of [[evaluate.sets]]
  };
  Kind kind;
  TableSpec spec;
  std::function<void(bool)> set_present = {};  ///< kOptional
  std::function<void()> clear = {};            ///< kList
  std::function<void*()> append =
      {};                  ///< kList: a new element; the pointer holds until the next append
  void* target = nullptr;  ///< kTable, kOptional; nullptr if the table has no keys
  std::function<std::vector<const void*>()> instances =
      {};  ///< the current structs: none or one, for kList any number

  /// True if the table is part of the configuration hash: one of its keys is, or it is optional
  /// without keys.
  bool changes_results() const;
  /// "[loss.a2d]", "[[evaluate.sets]]", or "" for the keys at the top.
  std::string header() const;
};

/// All tables of one verb, in the order in which they are printed. Stores pointers: the structs
/// must outlive it.
///   Schema schema;
///   schema.table(run_spec(), options.run)
///       .table(grid_spec(), options.grid)
///       .optional_table(a2d_spec(), options.a2d, options.with_a2d);
/// Every function throws Error::kInternal for a table bound twice, a spec of another struct, a key
/// that needs quotes or has the name of a table.
class Schema {
 public:
  template <class T>
  Schema& table(const TableSpec& spec, T& target) {
    check_struct(spec, typeid(T));
    Binding binding{.kind = Binding::Kind::kTable, .spec = spec, .target = &target};
    binding.instances = [&target] { return std::vector<const void*>{&target}; };
    return add(std::move(binding));
  }

  template <class T>
  Schema& optional_table(const TableSpec& spec, T& target, bool& present) {
    check_struct(spec, typeid(T));
    return add_optional(spec, &target, present);
  }

  /// An optional table without keys.
  Schema& optional_table(const std::string& name, const std::string& meaning, bool& present) {
    return add_optional({name, meaning, {}, nullptr}, nullptr, present);
  }

  /// An array of tables; each [[name]] appends a T.
  template <class T>
  Schema& tables(const TableSpec& spec, std::vector<T>& target) {
    check_struct(spec, typeid(T));
    Binding binding{.kind = Binding::Kind::kList, .spec = spec};
    binding.clear = [&target] { target.clear(); };
    binding.append = [&target]() -> void* { return &target.emplace_back(); };
    binding.instances = [&target] {
      std::vector<const void*> out;
      for (const auto& element : target) out.push_back(&element);
      return out;
    };
    return add(std::move(binding));
  }

  const std::vector<Binding>& bindings() const { return bindings_; }
  /// The bindings, the top-level keys first: after a table header they would belong to that table.
  std::vector<const Binding*> printed_order() const;
  /// The binding of this table name, or nullptr.
  const Binding* find(const std::string& name) const;
  /// True if there is a table below this path: "loss" for [loss.a2d].
  bool holds_tables_below(const std::string& path) const;
  /// The names allowed in the table of this path: its keys and its direct subtables.
  std::vector<std::string> names_in(const std::string& path) const;

 private:
  static void check_struct(const TableSpec& spec, const std::type_info& type);
  Schema& add_optional(const TableSpec& spec, void* target, bool& present);
  Schema& add(Binding binding);
  std::vector<Binding> bindings_;
};

/// "loss.a2d" and "weight" make "loss.a2d.weight"; an empty table makes "weight".
std::string join_path(const std::string& table, const std::string& key);

}  // namespace dissent::config
