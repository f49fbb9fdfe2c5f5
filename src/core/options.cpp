#include "core/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <dissent/error.hpp>
#include <type_traits>

namespace dissent {
namespace {

template <class T>
constexpr bool is_optional = false;
template <class T>
constexpr bool is_optional<std::optional<T>> = true;
template <class T>
constexpr bool is_vector = false;
template <class T>
constexpr bool is_vector<std::vector<T>> = true;

std::string number_text(double number) {
  // The shortest digits that read back as the same number.
  std::string text = fmt::format("{}", number);

  // Without a point or exponent TOML would read an integer; the n is for nan and inf.
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string string_text(const std::string& string) {
  // A basic string of TOML: control characters without a short form are written by their number.
  std::string text = "\"";
  for (const char c : string) {
    switch (c) {
      case '"': text += "\\\""; break;
      case '\\': text += "\\\\"; break;
      case '\n': text += "\\n"; break;
      case '\t': text += "\\t"; break;
      case '\r': text += "\\r"; break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f)
          text += fmt::format("\\u{:04x}", byte);
        else
          text += c;
      }
    }
  }
  return text + "\"";
}

template <class V>
std::string scalar_name() {
  if constexpr (std::is_same_v<V, bool>)
    return "boolean";
  else if constexpr (std::is_same_v<V, int64_t>)
    return "integer";
  else if constexpr (std::is_same_v<V, double>)
    return "number";
  else
    return "string";
}

// A long double represents every int64_t, so bounds near 2^63 compare exactly.
bool in_range(long double number, const OptionInfo& info) {
  if (std::isnan(number)) return !info.min && !info.max;
  if (std::isinf(number)) {
    if (!info.min && !info.max) return true;
    return (info.min && *info.min == number) || (info.max && *info.max == number);
  }
  return (!info.min || number >= *info.min) && (!info.max || number <= *info.max);
}

// The bounds that apply to an integer.
OptionInfo bounds_of(int64_t value, const OptionInfo& info) {
  OptionInfo bounds = info;
  if (info.min && !info.max && static_cast<double>(value) > kMostInteger) bounds.max = kMostInteger;
  return bounds;
}

/// The value as a V, or nothing if type, range or choice does not fit.
template <class V>
std::optional<V> take(const Value& value, const OptionInfo& info) {
  if constexpr (is_optional<V>) {
    // The word (auto, none, ...) stands for no value; anything else has to fit the inner type.
    const auto* string = std::get_if<std::string>(&value);
    if (string && *string == info.word) return V();

    auto number = take<typename V::value_type>(value, info);
    return number ? std::optional<V>(V(*number)) : std::nullopt;
  } else if constexpr (is_vector<V>) {
    return std::visit(
        [&](const auto& found) -> std::optional<V> {
          if constexpr (!is_vector<std::decay_t<decltype(found)>>)
            return std::nullopt;
          else {
            V out;

            // Elements are not sizes, so the limit for integers without a maximum does not apply: a
            // seed may have 64 bits.
            OptionInfo bounds = info;
            if (std::is_same_v<typename V::value_type, int64_t> && !info.max)
              bounds.max = kAnyInteger;
            for (const auto& element : found) {
              auto taken = take<typename V::value_type>(Value(element), bounds);
              if (!taken) return std::nullopt;
              out.push_back(std::move(*taken));
            }
            return out;
          }
        },
        value);
  } else {
    // A TOML integer is accepted where a number is expected.
    if constexpr (std::is_same_v<V, double>)
      if (const auto* integer = std::get_if<int64_t>(&value); integer && in_range(*integer, info))
        return static_cast<double>(*integer);

    const auto* found = std::get_if<V>(&value);
    if (!found) return std::nullopt;

    if constexpr (std::is_same_v<V, int64_t>)
      if (!in_range(*found, bounds_of(*found, info))) return std::nullopt;
    if constexpr (std::is_same_v<V, double>)
      if (!in_range(*found, info)) return std::nullopt;
    if constexpr (std::is_same_v<V, std::string>)
      if (!info.choices.empty() &&
          std::find(info.choices.begin(), info.choices.end(), *found) == info.choices.end())
        return std::nullopt;
    return *found;
  }
}

template <class V>
Value to_value(const V& value, const OptionInfo& info) {
  if constexpr (is_optional<V>)
    return value ? Value(*value) : Value(info.word);
  else
    return Value(value);
}

}  // namespace

template <class V>
std::string OptionType<V>::name(const OptionInfo& info) {
  if constexpr (is_optional<V>)
    return fmt::format("{} or \"{}\"", scalar_name<typename V::value_type>(), info.word);
  else if constexpr (is_vector<V>)
    return fmt::format("list of {}s", scalar_name<typename V::value_type>());
  else
    return scalar_name<V>();
}

template <class V>
std::string OptionType<V>::text(const V& value, const OptionInfo& info) {
  return toml_text(to_value(value, info));
}

template <class V>
std::optional<std::string> OptionType<V>::assign(V& out, const Value& value,
                                                 const OptionInfo& info) {
  auto taken = take<V>(value, info);
  if (!taken) {
    const auto* integer = std::get_if<int64_t>(&value);
    return expected_text(name(info), integer ? bounds_of(*integer, info) : info);
  }
  out = std::move(*taken);
  return std::nullopt;
}

template <class V>
void OptionType<V>::check_default(const std::string& key, const V& value, const OptionInfo& info) {
  DISSENT_CHECK(take<V>(to_value(value, info), info), kInternal,
                "option {}: expected a default that is {}, found {}", key,
                expected_text(name(info), info), text(value, info));
}

template struct OptionType<bool>;
template struct OptionType<int64_t>;
template struct OptionType<double>;
template struct OptionType<std::string>;
template struct OptionType<std::optional<int64_t>>;
template struct OptionType<std::optional<double>>;
template struct OptionType<std::vector<int64_t>>;
template struct OptionType<std::vector<double>>;
template struct OptionType<std::vector<std::string>>;

const OptionSpec* TableSpec::find(const std::string& key) const {
  const auto at = std::find_if(options.begin(), options.end(), [&](const OptionSpec& option) {
    const auto& former = option.info.former_names;
    return option.key == key || std::find(former.begin(), former.end(), key) != former.end();
  });
  return at == options.end() ? nullptr : &*at;
}

std::optional<std::string> assign_integer_or_string(std::string& out, const Value& value) {
  const auto* number = std::get_if<int64_t>(&value);
  const auto* text = std::get_if<std::string>(&value);
  if (!text && !(number && *number >= 1)) return "an integer >= 1 or a string";
  out = text ? *text : std::to_string(*number);
  return std::nullopt;
}

std::string range_text(const OptionInfo& info) {
  if (!info.choices.empty()) {
    std::vector<std::string> shown;
    for (const auto& choice : info.choices) shown.push_back(choice.empty() ? "\"\"" : choice);
    return fmt::format("one of {}", fmt::join(shown, ", "));
  }

  // kAnyInteger only lifts a limit, so it is not shown as one.
  const bool bounded = info.max && *info.max < kAnyInteger;
  if (info.min && bounded) return fmt::format("{} .. {}", *info.min, *info.max);
  if (info.min) return fmt::format(">= {}", *info.min);
  return bounded ? fmt::format("<= {}", *info.max) : "";
}

std::string expected_text(const std::string& type, const OptionInfo& info) {
  const std::string range = range_text(info);
  if (type == "boolean") return "true or false";
  if (!info.choices.empty())
    return type == "string" ? range : fmt::format("a {}, each {}", type, range);

  const auto end = std::min(type.find(" or "), type.size());  // before the word for "no value"
  std::string text = type.substr(0, end);
  // inf satisfies "a number >= 0", but a one-sided bound excludes it.
  if (text == "number" && info.min.has_value() != info.max.has_value()) text = "finite number";
  text = (text == "integer" ? "an " : "a ") + text;
  if (!range.empty()) text += (range.find(" .. ") != std::string::npos ? " in " : " ") + range;
  return text + type.substr(end);
}

std::string element_type(const std::string& list_type) {
  const std::string prefix = "list of ";
  if (!list_type.starts_with(prefix)) return "";
  return list_type.substr(prefix.size(), list_type.size() - prefix.size() - 1);
}

std::string toml_text(const Value& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using V = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<V, bool>)
          return v ? "true" : "false";
        else if constexpr (std::is_same_v<V, int64_t>)
          return fmt::format("{}", v);
        else if constexpr (std::is_same_v<V, double>)
          return number_text(v);
        else if constexpr (std::is_same_v<V, std::string>)
          return string_text(v);
        else {
          std::vector<std::string> elements;
          for (const auto& element : v) elements.push_back(toml_text(Value(element)));
          return fmt::format("[{}]", fmt::join(elements, ", "));
        }
      },
      value);
}

size_t edit_distance(const std::string& a, const std::string& b) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  const auto same = [&](size_t x, size_t y) { return lower(a[x]) == lower(b[y]); };

  // d[i][j] is the distance of the first i characters of a and the first j of b (optimal string
  // alignment).
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      const size_t replaced = d[i - 1][j - 1] + (same(i - 1, j - 1) ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && same(i - 1, j - 2) && same(i - 2, j - 1))
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::optional<std::string> nearest(const std::string& word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  size_t best_distance = 0;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    const size_t longer = std::max(word.size(), candidate.size());

    // Close enough to be a typing error: at most a third of the longer word.
    const bool near = distance <= std::max<size_t>(1, longer / 3) &&
                      distance < std::min(word.size(), candidate.size());
    if (near && (!best || distance < best_distance)) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace dissent
