#pragma once
#include "config/schema.hpp"

namespace dissent::cli {

/// The schema of each verb that takes a configuration, bound to defaults (for `dissent config` and
/// the docs).
config::Schema cache_schema();
config::Schema evaluate_schema();

}  // namespace dissent::cli
