#pragma once
#include <functional>
#include <string>
#include <vector>

#include "comm/runtime.hpp"
#include "config/document.hpp"
#include "config/schema.hpp"

namespace dissent::doctor {

/// How a configuration is recognised as one for a verb other than `train`: it has a table of the
/// verb's name, or this key.
struct VerbSchema {
  std::string verb, key;
  std::function<config::Schema()> schema;
};

/// What `dissent doctor` checks, and how.
struct Options {
  double timeout_s = 60;     ///< timeout of each collective and of each NCCL call
  std::string folder = ".";  ///< trial files are written here
  bool json = false;         ///< print one JSON object instead of one line per check
  /// Loads the configuration to check; empty: none is checked. Collective.
  std::function<config::Document()> configuration = {};
  std::vector<VerbSchema> verbs = {};
};

/// Checks machine, job and folder, and prints a line (and a suggested fix) per check on rank 0.
/// False if a check failed. Error::kUsage for a timeout that is not above 0. Collective.
bool run_checks(Runtime& runtime, const Options& options);

}  // namespace dissent::doctor
