#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "jobs/sheet.hpp"

namespace dissent::jobs {

/// A file or folder that a job writes.
struct Written {
  std::string path;
  bool below = false;  ///< files in it have names that are not known before
};

/// What a configuration says once it is read and checked, as far as a job needs it.
struct Resolution {
  std::string hash;               ///< of its keys that change results
  std::string place;              ///< where the results go: part of a job's identity too
  std::vector<std::string> runs;  ///< folders of runs (train): progress and figures are read there
  std::vector<std::string> hashes;   ///< the hash that each of these runs writes down
  std::vector<Written> writes = {};  ///< what rows that come after may read
  std::vector<std::string> inputs;  ///< caches that it reads often: what `stage` copies to the node
};

/// Reads and checks the configuration of a verb. Error::kUsage with a line for each thing that is
/// wrong. arguments: of verbs without a configuration.
using Resolver = std::function<Resolution(const std::string& verb, const std::string& config,
                                          const std::vector<std::string>& overrides,
                                          const std::vector<std::string>& arguments)>;

/// A row that may be run.
struct Job {
  std::string key;  ///< VERB-HASH: verb, resolved configuration and place of the results. The row's
                    ///< number and name have no part in it
  std::string name, group;
  int64_t line = 0;
  std::string verb, config;
  std::vector<std::string> overrides;  ///< "table.key=value", as --set takes them
  std::vector<std::string> arguments;  ///< more arguments of the verb
  int64_t ranks = 1, threads = 1, gpus = 0, retries = 2;
  bool enabled = true, stage = false;
  bool set_to_run = false;  ///< the sheet has whether_to_run, and it is 1
  std::string sheet_mark;   ///< sheet_mark() of its sheet
  std::string off_key;      ///< key that it would have, were whether_to_run not 0
  std::string template_name = "one_node";
  std::vector<std::string> slurm;  ///< options of sbatch, "--time=01:00:00"
  int64_t signal_s = 0;  ///< slurm:signal: before the time limit it is asked to stop; 0: as the
                         ///< batch script says
  std::vector<std::string> after_names;  ///< cells of the column after
  std::vector<std::string> after;        ///< keys of the jobs that have to be done before
  std::vector<std::string> after_rows;   ///< their names, in the same order
  Resolution resolution;
  std::map<std::string, std::string> cells;

  /// The program's arguments: verb, config, overrides, arguments.
  std::vector<std::string> command() const;
};

/// The jobs of a sheet, in its order, those that are not enabled included. Everything is checked
/// before anything starts; Error::kUsage with a line for each thing that is wrong: cells, options
/// of sbatch, configurations, names in `after` (a row's name before or after expansion, or a
/// pattern), circles, and rows that are the same job ("sheet.csv:7: 'b' is the same job as 'a' of
/// line 3").
std::vector<Job> make_jobs(const Sheet& sheet, const Resolver& resolve);

/// Those of `jobs` whose rows fit the conditions of where().
std::vector<Job> picked(const std::vector<Job>& jobs, const Sheet& sheet,
                        const std::vector<std::string>& conditions);

/// 16 hexadecimal digits over the absolute path of a sheet.
std::string sheet_mark(const std::string& path);

/// A cell as an override of this key: TOML if it is one value of TOML, else a string that holds
/// exactly the cell. Nothing of it is ever read by a shell.
std::string override_text(const std::string& key, const std::string& cell);

}  // namespace dissent::jobs
