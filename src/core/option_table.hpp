#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/options.hpp"

namespace dissent {

/// Names of an enumeration's values, in the order of the docs.
template <class Enum>
using Names = std::vector<std::pair<std::string, Enum>>;

/// The same from a list of names and the function that converts one.
template <class Enum>
Names<Enum> names_of(const std::vector<std::string>& names, Enum (*value)(const std::string&)) {
  Names<Enum> pairs;
  for (const auto& name : names) pairs.emplace_back(name, value(name));
  return pairs;
}

/// TableOf with keys for members that are enumerations. They are strings in the configuration.
template <class T>
class OptionTable : public TableOf<T> {
 public:
  using TableOf<T>::TableOf;
  template <class V>
  OptionTable& option(std::string key, V T::* member, OptionInfo info) {
    TableOf<T>::option(std::move(key), member, std::move(info));
    return *this;
  }
  template <class Enum>
  OptionTable& choice(std::string key, Enum T::* member, Names<Enum> names, std::string meaning) {
    return choice(std::move(key), member, std::move(names),
                  OptionInfo{.meaning = std::move(meaning)});
  }
  template <class Enum>
  OptionTable& choice(std::string key, Enum T::* member, Names<Enum> names, OptionInfo info) {
    for (const auto& [name, value] : names) info.choices.push_back(name);

    const auto text_of = [names, member](const void* table) {
      for (const auto& [name, value] : names)
        if (value == static_cast<const T*>(table)->*member) return toml_text(name);
      return std::string();
    };

    OptionSpec spec{std::move(key), "string", {}, info, {}, text_of};
    const T defaults{};
    spec.default_text = text_of(&defaults);
    spec.assign = [names, member, info](void* table,
                                        const Value& value) -> std::optional<std::string> {
      if (const auto* given = std::get_if<std::string>(&value))
        for (const auto& [name, known] : names)
          if (name == *given) {
            static_cast<T*>(table)->*member = known;
            return std::nullopt;
          }
      return expected_text("string", info);
    };

    this->options.push_back(std::move(spec));
    return *this;
  }
};

}  // namespace dissent
