#pragma once
#include "jobs/job.hpp"

namespace dissent::cli {

/// Reads and checks the configuration of a verb as the verb itself would, without its data: hash,
/// place of the results, folders of the runs. A verb without a configuration is known by its
/// arguments. Error::kUsage with a line for each thing that is wrong, unknown verbs included. Not
/// collective.
jobs::Resolution resolve_job(const std::string& verb, const std::string& config,
                             const std::vector<std::string>& overrides,
                             const std::vector<std::string>& arguments);

}  // namespace dissent::cli
