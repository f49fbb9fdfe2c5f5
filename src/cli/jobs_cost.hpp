#pragma once
#include <map>
#include <string>
#include <vector>

#include "jobs/job.hpp"

namespace dissent::cli {

enum class Costs { kNone, kCounted, kTimes };

/// What would be run, one block per job: name, command as one would type it, ranks and grid (grids:
/// those of trainings, by key, SheetProblems), its dependencies, and what `dissent plan` predicts
/// for memory, storage and (kTimes: measured, seconds per job) time. Jobs that differ only in
/// seeds, names, weights and rates share one prediction. Where there is no prediction the reason is
/// given.
std::string dry_run(const std::vector<jobs::Job>& jobs, const std::vector<jobs::Job>& all,
                    const std::map<std::string, std::string>& grids, Costs shown);

}  // namespace dissent::cli
