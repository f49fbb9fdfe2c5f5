#pragma once
#include <string>

#include "cli/light_verbs.hpp"
#include "config/document.hpp"
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

/// Checks that go beyond the schema of a verb: what `dissent train` refuses before it starts.
void check_configuration(const std::string& verb, const config::Document& document);

}  // namespace dissent::cli
