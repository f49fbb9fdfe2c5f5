#pragma once
#include "config/schema.hpp"
#include "train/options.hpp"

namespace dissent {

/// The tables of `dissent train CONFIG`, bound to a configuration; the configuration has to outlive the schema.
config::Schema train_schema(TrainConfig& config);

}  // namespace dissent
