#pragma once
#include <any>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "losses/registry.hpp"

namespace dissent::testing {

/// A loss at options that matter.
struct LossVariant {
  std::string loss;
  std::string note;  ///< the options, for messages
  std::any options;
};

/// Another allowed value of an option that is a number, or nothing for other types. It stays near
/// the default, where values and gradients of every loss are finite and not 0.
inline std::optional<Value> another_number(const OptionSpec& option) {
  const double value = std::strtod(option.default_text.c_str(), nullptr);
  if (option.type == "integer") return Value(static_cast<int64_t>(value > 0 ? value - 1 : 1));
  if (option.type == "number") return Value(value > 0 ? value / 2 : 0.125);
  return std::nullopt;
}

inline LossVariant with_option(const LossVariant& variant, const OptionSpec& option,
                               const Value& value) {
  auto changed = variant;
  losses::set_option(losses::find_loss(variant.loss), changed.options, option.key, value);
  changed.note += fmt::format(" {} = {}", option.key, toml_text(value));
  return changed;
}

/// The loss at its defaults; at each combination of its named choices, or, where these are more
/// than 8, at each choice by itself; and with another value of each number. Made from the table, so
/// that tests over all variants cover a new loss without a line of their own.
inline std::vector<LossVariant> variants_of(const losses::LossInfo& loss) {
  std::vector<LossVariant> combined = {{loss.name, "", loss.default_options}};
  std::vector<LossVariant> single = combined;
  for (const auto& option : loss.options.options) {
    if (const auto number = another_number(option))
      single.push_back(with_option(single[0], option, *number));
    std::vector<LossVariant> extended;
    for (const auto& choice : option.info.choices) {
      for (const auto& variant : combined) extended.push_back(with_option(variant, option, choice));
      if (toml_text(choice) != option.default_text)
        single.push_back(with_option(single[0], option, choice));
    }
    if (!extended.empty()) combined = extended;
  }
  if (combined.size() > 8) return single;
  std::erase_if(single, [](const auto& variant) {
    return variant.note.find('"') != std::string::npos;  // a choice, which `combined` has
  });
  single.erase(single.begin());
  combined.insert(combined.end(), single.begin(), single.end());
  return combined;
}

inline std::vector<LossVariant> all_loss_variants() {
  std::vector<LossVariant> all;
  for (const auto& loss : losses::loss_table())
    for (auto& variant : variants_of(loss)) all.push_back(std::move(variant));
  return all;
}

}  // namespace dissent::testing
