#pragma once
#include <map>
#include <string>
#include <vector>

#include "jobs/job.hpp"

namespace dissent::cli {

enum class Costs { kNone, kCounted, kTimes };

/// What would be run, a block a job: name, command as one would type it, ranks and grid (grids: of
/// trainings, by key, SheetProblems), what it
/// waits for, and what `dissent plan` says of memory, storage and (kTimes: a measurement of seconds
/// a job) time. Jobs that differ in seeds, names, weights and rates only are asked for once. A job
/// that plan knows nothing of says why.
std::string dry_run(const std::vector<jobs::Job>& jobs, const std::vector<jobs::Job>& all,
                    const std::map<std::string, std::string>& grids, Costs shown);

}  // namespace dissent::cli
