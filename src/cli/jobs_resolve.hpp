#pragma once
#include <functional>
#include <string>

#include "config/described.hpp"
#include "config/document.hpp"
#include "jobs/job.hpp"

namespace dissent::cli {

/// Resolves each job of a sheet from its configuration (jobs::Resolver): its hash, where its
/// results go, the files that it writes and the caches that it reads. Configuration files are read
/// once and kept as long as the resolver. Error::kUsage with the file and line of the first wrong
/// key. description  returns the schema of a verb that takes a configuration (train, train-images,
///              cache, evaluate)
jobs::Resolver job_resolver(
    std::function<config::Description(const std::string& name)> description);

}  // namespace dissent::cli
