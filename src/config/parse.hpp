#pragma once
#include <string>

#include "config/errors.hpp"
#include "config/node.hpp"

namespace dissent::config {

/// Parses TOML 1.0. A syntax error or a duplicate key is added to `errors` with its place, and an
/// empty table is returned.
Node parse_toml(const std::string& text, const std::string& file, ConfigErrors& errors);

/// Parses an override, "loss.a2d.weight=0.5", into nested tables. A value that is not valid TOML
/// and has no quotes or brackets is taken as a string ("training.precision=bf16"). Errors name the
/// override.
Node parse_override(const std::string& text, ConfigErrors& errors);

}  // namespace dissent::config
