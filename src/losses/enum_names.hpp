#pragma once
#include <dissent/error.hpp>

#include <fmt/ranges.h>

#include <string>
#include <utility>
#include <vector>

namespace dissent::losses {

/// Names of an enumeration, in the order of the documentation. `what` begins the error messages.
template <class Enum>
class EnumNames {
 public:
  EnumNames(const char* what, std::vector<std::pair<std::string, Enum>> table)
      : what_(what), table_(std::move(table)) {
    for (const auto& [name, value] : table_) names_.push_back(name);
  }
  Enum value(const std::string& name) const {
    for (const auto& [known, value] : table_)
      if (known == name) return value;
    DISSENT_FAIL(kUsage, "{}: expected one of {}, found '{}'", what_, fmt::join(names_, ", "),
                 name);
  }
  std::string name(Enum value) const {
    for (const auto& [name, known] : table_)
      if (known == value) return name;
    DISSENT_FAIL(kInternal, "{} {} has no name", what_, static_cast<int>(value));
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  const char* what_;
  std::vector<std::pair<std::string, Enum>> table_;
  std::vector<std::string> names_;
};

}  // namespace dissent::losses
