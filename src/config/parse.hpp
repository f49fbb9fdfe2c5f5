#pragma once
#include <string>

#include "config/errors.hpp"
#include "config/node.hpp"

namespace dissent::config {

/// Reads TOML 1.0. A syntax error or a key given twice goes to `errors`, with its place, and an
/// empty table comes back.
Node parse_toml(const std::string& text, const std::string& file, ConfigErrors& errors);

/// Reads an override, "loss.a2d.weight=0.5", as a table of tables. A value that is no TOML and has
/// no quotes or brackets is a string as it stands ("training.precision=bf16"). Errors name the
/// override.
Node parse_override(const std::string& text, ConfigErrors& errors);

}  // namespace dissent::config
