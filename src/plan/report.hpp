#pragma once
#include <string>

#include "plan/planner.hpp"

namespace dissent::plan {

/// For people: sizes of a step and of storage, then tables of memory, messages and time with one
/// line per grid, notes, and the model.
std::string report_text(const CostModel& model, const Plan& plan);
/// The same as JSON; bytes, seconds.
std::string report_json(const CostModel& model, const Plan& plan);

}  // namespace dissent::plan
