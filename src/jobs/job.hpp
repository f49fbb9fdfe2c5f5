#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "jobs/sheet.hpp"

namespace dissent::jobs {

/// The verbs that jobs treat specially: only these have run folders, caches or packs.
enum class VerbKind { kTrain, kPlan, kCache, kEvaluate, kOther };
/// The kind of a verb by its name; kOther for any other text.
VerbKind verb_kind(const std::string& verb);

/// A file or folder that a job writes.
struct Written {
  std::string path;
  bool below = false;  ///< a folder for files whose names are not known in advance
};

/// What a job needs of a configuration that was read and checked.
struct Resolution {
  std::string hash;                  ///< hash of its keys that change results
  std::string place;                 ///< where the results go; also part of a job's identity
  std::vector<std::string> runs;     ///< run folders (train), with their progress and metric values
  std::vector<std::string> hashes;   ///< the hash that each of these runs records
  std::vector<Written> writes = {};  ///< what later rows may read
  std::vector<std::string> inputs;  ///< caches that are read often: `stage` copies them to the node
};

/// Reads and checks the configuration of a verb. Error::kUsage with one line per problem.
/// arguments: those of verbs without a configuration.
using Resolver = std::function<Resolution(const std::string& verb, const std::string& config,
                                          const std::vector<std::string>& overrides,
                                          const std::vector<std::string>& arguments)>;

/// A row that may be run.
struct Job {
  std::string key;  ///< VERB-HASH over verb, resolved configuration and place of the results; does
                    ///< not depend on the row's number or name
  std::string name, group;
  int64_t line = 0;
  std::string verb, config;
  std::vector<std::string> overrides;  ///< "table.key=value", as --set takes them
  std::vector<std::string> arguments;  ///< further arguments of the verb
  int64_t ranks = 1, threads = 1, gpus = 0, retries = 2;
  bool enabled = true, stage = false;
  bool set_to_run = false;  ///< the sheet has whether_to_run, and it is 1
  std::string sheet_mark;   ///< sheet_mark() of its sheet
  std::string off_key;      ///< the key it would have if whether_to_run were not 0
  std::string template_name = "one_node";
  std::vector<std::string> slurm;  ///< options of sbatch, "--time=01:00:00"
  int64_t signal_s = 0;  ///< slurm:signal: seconds before the time limit when the job is requested
                         ///< to stop; 0: as the batch script says
  std::vector<std::string> after_names;  ///< cells of the column after
  std::vector<std::string> after;        ///< keys of the jobs that have to be done first
  std::vector<std::string> after_rows;   ///< their names, in the same order
  Resolution resolution;
  std::map<std::string, std::string> cells;

  /// The program's arguments: verb, config, overrides, arguments.
  std::vector<std::string> command() const;
};

/// The jobs of a sheet, in its order, including those that are not enabled. Everything is checked
/// before anything starts; Error::kUsage with one line per problem: cells, options of sbatch,
/// configurations, names in `after` (a row's name before or after expansion, or a pattern), cyclic
/// dependencies, and rows that are the same job ("sheet.csv:7: 'b' is the same job as 'a' of line
/// 3").
std::vector<Job> make_jobs(const Sheet& sheet, const Resolver& resolve);

/// Those of `jobs` whose rows meet the conditions of where().
std::vector<Job> picked(const std::vector<Job>& jobs, const Sheet& sheet,
                        const std::vector<std::string>& conditions);

/// 16 hexadecimal digits over the absolute path of a sheet.
std::string sheet_mark(const std::string& path);

/// A cell as an override of this key: TOML if it is one TOML value, else a string with exactly the
/// text of the cell. No shell ever reads it.
std::string override_text(const std::string& key, const std::string& cell);

}  // namespace dissent::jobs
