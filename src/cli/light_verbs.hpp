#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "cli/files.hpp"
#include "cli/jobs_check.hpp"
#include "config/described.hpp"
#include "config/schema.hpp"
#include "jobs/job.hpp"
#include "report/gnuplot.hpp"

namespace dissent::cli {

// Verbs that compute nothing and run in one process, without LibTorch, MPI or HDF5. Each returns
// the exit code.

/// The sources of `dissent config`: the schema of a verb (train, train-images, cache, evaluate),
/// and the page of a registry (losses, scores, metrics).
struct Descriptions {
  std::function<config::Schema(const std::string& name)> schema;
  std::function<std::string(const std::string& name)> page;
};
/// `dissent config`: prints the keys of a configuration, or a table. Error::kUsage for another
/// name.
int run_config(const CommandLine& line, const Descriptions& descriptions);
/// Throws its error for a name that it does not know.
void check_config(const CommandLine& line);

/// `dissent imglist` and `dissent tables`.
int run_imglist(const CommandLine& line);
int run_tables(const CommandLine& line);
/// The checks of each verb before it starts (checks.hpp).
void check_imglist(const CommandLine& line, Files& files);
void check_tables(const CommandLine& line, Files& files);
void check_plot(const CommandLine& line, Files& files);

/// draw: report::draw_saliency, needed only for the kind saliency, whose maps are tensors.
using DrawSaliency = void (*)(const std::string& path, const std::vector<int64_t>& images,
                              int64_t most, report::Canvas canvas);
/// `dissent plot`.
int run_plot(const CommandLine& line, DrawSaliency draw);

/// Checks the rows of a sheet (jobs_check.hpp).
using CheckRows = SheetProblems (*)(const std::string& sheet, const std::vector<jobs::Job>& jobs,
                                    const std::set<std::string>& start,
                                    const std::set<std::string>& done);
/// resolve: reads the configurations of a sheet. description: the schemas, for --set. check:
/// nullptr where jobs are only shown.
int run_jobs(const CommandLine& line, const jobs::Resolver& resolve,
             const std::function<config::Description(const std::string& name)>& description,
             CheckRows check);

}  // namespace dissent::cli
