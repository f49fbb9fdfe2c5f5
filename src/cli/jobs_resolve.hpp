#pragma once
#include <functional>
#include <string>

#include "config/described.hpp"
#include "config/document.hpp"
#include "jobs/job.hpp"

namespace dissent::cli {

/// What each job of a sheet is, from its configuration: jobs::Resolver.
/// description  of the schema of a verb that takes a configuration (train, train-images, cache,
///              evaluate)
jobs::Resolver job_resolver(
    std::function<config::Description(const std::string& name)> description);

}  // namespace dissent::cli
