#pragma once
#include <concepts>
#include <type_traits>

namespace dissent {

/// value / by, rounded up; value >= 0, by >= 1, and value + by fits the type.
template <std::integral Value, std::integral By>
constexpr std::common_type_t<Value, By> divide_up(Value value, By by) {
  return (value + by - 1) / by;
}

}  // namespace dissent
