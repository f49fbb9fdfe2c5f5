#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace dissent {

/// Parses a record that this program wrote and a user may have edited. Floating-point numbers of
/// magnitude 2^53 and more are treated as missing: converting one to an integer would be undefined,
/// and no time or size is that large. Input: a text or a stream. Without exceptions, invalid JSON
/// gives a discarded value (is_object() is false).
template <class Input>
nlohmann::json parse_record(Input&& input, bool exceptions = true) {
  const auto keep = [](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    return event != nlohmann::json::parse_event_t::value || !value.is_number_float() ||
           std::abs(value.get<double>()) < 0x1p53;
  };
  return nlohmann::json::parse(std::forward<Input>(input), keep, exceptions);
}

}  // namespace dissent
