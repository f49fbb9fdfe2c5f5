#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/enum_names.hpp"
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

    // The struct holds an enumerator and the file its name; both directions use the same list.
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
  template <class Enum, size_t N>
  OptionTable& choice(std::string key, Enum T::* member, const EnumName<Enum> (&names)[N],
                      OptionInfo info) {
    Names<Enum> pairs;
    for (const auto& [value, name] : names) pairs.emplace_back(name, value);
    return choice(std::move(key), member, std::move(pairs), std::move(info));
  }
  /// A list of enumerators: a list of strings in the file.
  template <class Enum>
  OptionTable& choices(std::string key, std::vector<Enum> T::* member, Names<Enum> names,
                       std::string meaning) {
    using Strings = OptionType<std::vector<std::string>>;
    OptionInfo info{.meaning = std::move(meaning)};
    for (const auto& [name, value] : names) info.choices.push_back(name);
    const auto text_of = [names, member, info](const void* table) {
      std::vector<std::string> texts;
      for (const Enum value : static_cast<const T*>(table)->*member)
        for (const auto& [name, known] : names)
          if (known == value) texts.push_back(name);
      return Strings::text(texts, info);
    };
    OptionSpec spec{std::move(key), Strings::name(info), {}, info, {}, text_of};
    const T defaults{};
    spec.default_text = text_of(&defaults);
    spec.assign = [names, member, info](void* table,
                                        const Value& value) -> std::optional<std::string> {
      std::vector<std::string> texts;
      if (auto expected = Strings::assign(texts, value, info)) return expected;
      auto& list = static_cast<T*>(table)->*member;
      list.clear();
      for (const auto& text : texts)
        for (const auto& [name, known] : names)
          if (name == text) list.push_back(known);
      return std::nullopt;
    };
    this->options.push_back(std::move(spec));
    return *this;
  }
};

}  // namespace dissent
