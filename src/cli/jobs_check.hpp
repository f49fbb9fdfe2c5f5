#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "jobs/job.hpp"

namespace dissent::cli {

/// Checks every row of a sheet as its verb does before it begins (checks.hpp): options,
/// configuration, conflicting settings, names, grid.
///   jobs    all jobs of the sheet
///   start   keys of those that are going to be started: their files are checked too. A file has to
///           exist, where it is opened, or be written by a row that this one runs after
///   done    keys of those that are done
/// Returns one line per problem: "sheet.csv:7: a: e.toml:3:8: evaluate.id: x.cache does not exist,
/// ..."; a problem that several rows share is reported once: "sheet.csv:7: a (and b, c, d and 4
/// more): ...".
struct SheetProblems {
  std::vector<std::string> lines;
  bool of_usage = false;  ///< some problems are in configurations, not only in files
  /// The grid of each training, by key: "1 x 4 x 2 (runs x members x data)".
  std::map<std::string, std::string> grids = {};
};
SheetProblems check_rows(const std::string& sheet, const std::vector<jobs::Job>& jobs,
                         const std::set<std::string>& start, const std::set<std::string>& done);

}  // namespace dissent::cli
