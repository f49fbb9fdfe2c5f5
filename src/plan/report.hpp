#pragma once
#include <string>

#include "plan/planner.hpp"

namespace dissent::plan {

/// For people: sizes of a step and of storage, then tables of memory, messages and time with one
/// line per grid, each with an explanation of its model, and notes. Not collective.
std::string report_text(const CostModel& model, const Plan& plan);
/// The same as JSON (format "dissent-plan", version 1), in bytes and seconds. Not collective.
std::string report_json(const CostModel& model, const Plan& plan);

}  // namespace dissent::plan
