#pragma once
#include <string>

#include "cli/light_verbs.hpp"
#include "config/schema.hpp"

namespace dissent::cli {

/// The schemas of cache and evaluate, bound to defaults that are never read.
config::Schema cache_schema();
config::Schema evaluate_schema();

/// Schemas and pages from the tables of the modules.
Descriptions declared();
/// The same as a C++ string literal, which is compiled into `dissent`: JSON {"schemas": {name:
/// Description::to_json}, "pages": {name: text}}.
std::string description_literal();

}  // namespace dissent::cli
