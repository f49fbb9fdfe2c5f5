#include "config/variables.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "core/options.hpp"

namespace dissent::config {
namespace {

const char* const kTable = "variables";

// Limits for one string: variables that each refer to the next one twice would grow exponentially.
constexpr int64_t kMostSteps = 1000;
constexpr size_t kMostBytes = 1 << 16;

class Variables {
 public:
  Variables(Node& root, ConfigErrors& errors) : errors_(errors) {
    auto& table = std::get<Table>(root.data);
    const auto at = table.find(kTable);
    if (at == table.end()) return;

    if (const auto* found = at->second.table())
      values_ = *found;
    else
      errors_.add(at->second.key_source, kTable,
                  fmt::format("expected a table, found {}", at->second.text()));

    // The table is removed: no schema knows it, and a resolved configuration has the values in
    // place.
    table.erase(at);
    for (auto& [name, node] : values_) check(name, node);
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, node] : values_) names.push_back(name);
    return names;
  }

  // An override of a variable that no file defines and no string uses is a typing error.
  void check_used(const std::vector<std::string>& of_files) {
    for (const auto& [name, node] : values_)
      if (!used_.contains(name) &&
          std::find(of_files.begin(), of_files.end(), name) == of_files.end())
        unknown(name, node.source, fmt::format("{}.{}", kTable, key_text(name)), of_files);
  }

  void put(Node& node, const std::string& key) {
    if (auto* table = std::get_if<Table>(&node.data)) {
      for (auto& [name, inner] : *table)
        put(inner, key.empty() ? key_text(name) : key + "." + key_text(name));
    } else if (auto* list = std::get_if<List>(&node.data)) {
      for (size_t i = 0; i < list->size(); ++i) put((*list)[i], fmt::format("{}[{}]", key, i));
    } else if (auto* text = std::get_if<std::string>(&node.data)) {
      steps_ = 0;
      *text = filled(*text, node.source, key);
    }
  }

 private:
  void check(const std::string& name, const Node& node) {
    const bool fits = std::holds_alternative<std::string>(node.data) ||
                      std::holds_alternative<int64_t>(node.data) ||
                      std::holds_alternative<double>(node.data);
    if (!fits)
      errors_.add(node.source, fmt::format("{}.{}", kTable, key_text(name)),
                  fmt::format("expected a string or a number, found {}", node.text()));
  }

  std::string filled(const std::string& text, const Source& source, const std::string& key) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      // Copy up to the next variable, then its value.
      const size_t begin = text.find("${", at);
      out += text.substr(at, begin - at);
      if (begin == std::string::npos) break;

      const size_t end = text.find('}', begin);
      if (end == std::string::npos) {
        errors_.add(source, key, fmt::format("expected }} after '{}'", text.substr(begin)));
        return text;
      }
      out += value(text.substr(begin + 2, end - begin - 2), source, key);
      if (steps_ > kMostSteps) return "";
      if (out.size() > kMostBytes) steps_ = kMostSteps;  // makes the next variable an error
      at = end + 1;
    }
    return out;
  }

  std::string value(const std::string& name, const Source& source, const std::string& key) {
    const auto at = values_.find(name);
    if (at == values_.end()) {
      unknown(name, source, key, names());
      return "";
    }
    used_.insert(name);

    // Report exceeding the limit once, then stop expanding.
    if (steps_++ == kMostSteps)
      errors_.add(source, key,
                  fmt::format("expected variables that stand for at most {} others and {} bytes, "
                              "found more",
                              kMostSteps, kMostBytes));
    if (steps_ > kMostSteps) return "";

    const Node& node = at->second;
    if (const auto* integer = std::get_if<int64_t>(&node.data)) return fmt::format("{}", *integer);
    if (const auto* number = std::get_if<double>(&node.data)) return fmt::format("{}", *number);
    const auto* text = std::get_if<std::string>(&node.data);
    if (!text) return "";  // an error already

    // A string is expanded recursively; chain_ has the variables being expanded.
    const std::string own = fmt::format("{}.{}", kTable, key_text(name));
    if (std::find(chain_.begin(), chain_.end(), name) != chain_.end()) {
      errors_.add(node.source, own,
                  fmt::format("refers to itself: {} -> {}", fmt::join(chain_, " -> "), name));
      return "";
    }

    chain_.push_back(name);
    auto out = filled(*text, node.source, own);
    chain_.pop_back();
    return out;
  }

  void unknown(const std::string& name, const Source& source, const std::string& key,
               const std::vector<std::string>& known) {
    const auto near = nearest(name, known);
    errors_.add(source, key,
                fmt::format("expected a variable of [variables] ({}), found '{}'{}",
                            known.empty() ? std::string("none exists")
                                          : fmt::format("{}", fmt::join(known, ", ")),
                            name, near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }

  ConfigErrors& errors_;
  Table values_;
  std::set<std::string> used_;
  std::vector<std::string> chain_;
  int64_t steps_ = 0;  ///< variables expanded in the current string
};

}  // namespace

std::vector<std::string> variable_names(const Node& root) {
  std::vector<std::string> names;
  const auto& table = std::get<Table>(root.data);
  const auto at = table.find(kTable);
  if (at == table.end() || !at->second.table()) return names;
  for (const auto& [name, node] : *at->second.table()) names.push_back(name);
  return names;
}

std::vector<std::string> put_variables(Node& root, const std::vector<std::string>& of_files,
                                       ConfigErrors& errors) {
  Variables variables(root, errors);
  variables.put(root, "");
  variables.check_used(of_files);
  return variables.names();
}

}  // namespace dissent::config
