#pragma once
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "train/heads/head_engine.hpp"
#include "train/update/optimizer.hpp"
#include "train/update/schedule.hpp"

namespace dissent {

/// Writes the state of a run, complete enough that training goes on from it bit for bit on any
/// split of the members. Collective over the run.
void write_run_checkpoint(const std::string& path, Grid& grid, const RunContext& context,
                          const HeadData& data, const MemberStack& members,
                          const Optimizer& optimizer, const Schedule& schedule,
                          const RunState& state);

/// Reads it back into members, optimizer and schedule; the parts of this rank alone. Error::kData
/// naming what does not fit: another program version's parameters, other caches. Not collective.
RunState read_run_checkpoint(const std::string& path, const HeadData& data, MemberStack& members,
                             Optimizer& optimizer, Schedule& schedule);

}  // namespace dissent
