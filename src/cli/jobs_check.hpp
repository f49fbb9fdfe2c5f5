#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "jobs/job.hpp"

namespace dissent::cli {

/// Checks every row of a sheet as its verb does before it begins (checks.hpp): options,
/// configuration, what does not go together, names, grid.
///   jobs    all of the sheet
///   start   keys of those that are going to be started: their files too. A file has to be on the
///           disk, where it is opened, or be written by a row that this one runs after
///   done    keys of those that are done
/// Returns what is wrong, a line each, empty if nothing is: "sheet.csv:7: a: e.toml:3:8:
/// evaluate.id: x.cache is not there, ..."; what is said of several rows in the same words, once:
/// "sheet.csv:7: a (and b, c, d and 4 more): ...".
struct SheetProblems {
  std::vector<std::string> lines;
  bool of_usage = false;  ///< some are of configurations, not only of files
  /// The grid that each training will have, by key: "1 x 4 x 2 (runs x members x data)".
  std::map<std::string, std::string> grids = {};
};
SheetProblems check_rows(const std::string& sheet, const std::vector<jobs::Job>& jobs,
                         const std::set<std::string>& start, const std::set<std::string>& done);

}  // namespace dissent::cli
