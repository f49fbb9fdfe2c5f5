#pragma once
#include "config/document.hpp"
#include "config/schema.hpp"
#include "train/options.hpp"

namespace dissent::cli {

/// The schema of each verb that takes a configuration, bound to defaults (for `dissent config` and the docs).
config::Schema cache_schema();
config::Schema evaluate_schema();

/// The configuration of a training, checked key by key and for what does not go together. Error::kUsage listing all errors.
TrainConfig read_train_config(const config::Document& document);

}  // namespace dissent::cli
