#pragma once
#include <string>

#include "cli/light_verbs.hpp"
#include "config/schema.hpp"

namespace dissent::cli {

/// The schema of each verb that takes a configuration, bound to defaults that are never read.
config::Schema cache_schema();
config::Schema evaluate_schema();

/// Schemas and pages as the modules declare them.
Descriptions declared();
/// The same as one text, which `dissent` holds: a C++ string literal of JSON, {"schemas": {name:
/// Description::to_json}, "pages": {name: text}}.
std::string description_literal();

}  // namespace dissent::cli
