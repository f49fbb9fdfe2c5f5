#pragma once
#include "config/document.hpp"
#include "config/schema.hpp"
#include "train/config/options.hpp"

namespace dissent {

/// The tables of `dissent train CONFIG`, bound to a configuration; the configuration has to outlive
/// the schema.
config::Schema train_schema(TrainConfig& config);

/// Reads and checks the document, conflicts included. Error::kUsage with a line for each thing that
/// is wrong. Not collective.
TrainConfig read_train_config(const config::Document& document);

}  // namespace dissent
