#pragma once
#include "cli/compute.hpp"

namespace dissent::cli {

/// `dissent plan` of a training on images: the same questions and tables as for heads on caches
/// (plan.cpp), by src/train/cost/image_cost.hpp. `counts`: of --ranks. Collective.
int plan_images(Runtime& runtime, const CommandLine& line, const config::Document& document,
                const std::vector<int64_t>& counts);

}  // namespace dissent::cli
