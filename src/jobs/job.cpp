#include "jobs/job.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <system_error>
#include <variant>

#include <dissent/error.hpp>

#include "config/errors.hpp"
#include "config/parse.hpp"
#include "core/enum_names.hpp"
#include "jobs/inputs.hpp"

namespace dissent::jobs {
namespace {

using Errors = std::vector<std::string>;

// Options that dissent passes to sbatch itself, or that would run a cell's text.
const std::set<std::string> kOwnOptions{
    "array",     "dependency", "job-name",      "wrap",
    "parsable",  "ntasks",     "cpus-per-task", "output",
    "error",     "chdir",      "requeue",       "no-requeue",
    "open-mode", "export",     "export-file",   "kill-on-invalid-dep",
    "comment",   "test-only",  "wait",          "version",
    "help",      "usage"};

int64_t integer_cell(const SheetRow& row, const char* column, int64_t least, int64_t fallback,
                     Errors& errors) {
  const auto& text = row.cell(column);
  if (text.empty()) return fallback;
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc() && end == text.data() + text.size() && value >= least) return value;
  errors.push_back(
      fmt::format("{}: expected an integer >= {}, found {}", column, least, toml_text(text)));
  return fallback;
}

bool flag_cell(const SheetRow& row, const char* column, bool fallback, Errors& errors) {
  const auto& text = row.cell(column);
  if (text.empty()) return fallback;
  const auto value = yes_or_no(text);
  if (!value)
    errors.push_back(fmt::format("{}: expected 1 or 0, yes or no, true or false, found {}", column,
                                 toml_text(text)));
  return value.value_or(false);
}

std::vector<std::string> list_cell(const std::string& text, const char* column, Errors& errors) {
  if (text.empty()) return {};

  // The cell is a TOML value, as in configurations. A text that adds keys of its own ("[]\nx = 1")
  // gives a table of more than one entry and is not a list.
  config::ConfigErrors ignored;
  const auto node = config::parse_toml("list = " + text, "", ignored);
  std::vector<std::string> out;
  const auto* table = node.table();
  const auto* list = ignored.empty() && table->size() == 1 ? table->at("list").list() : nullptr;
  for (size_t i = 0; list && i < list->size(); ++i)
    if (const auto* word = std::get_if<std::string>(&(*list)[i].data)) out.push_back(*word);

  if (!list || out.size() != list->size())
    errors.push_back(
        fmt::format("{}: expected a list of strings, such as [\"--seeds\", \"5\"], found {}",
                    column, toml_text(text)));
  return out;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = 0; (at = text.find_first_not_of(" ,;\t\r\n", at)) != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(" ,;\t\r\n", at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

std::string slurm_option(const std::string& name, const std::string& value, Errors& errors) {
  // Only a long name without a value: "-J x" or "job-name=x" would set an option of kOwnOptions
  // without being recognised as such.
  const bool plain =
      !name.empty() && name[0] != '-' && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      });

  if (!plain || name.size() < 2)
    errors.push_back(fmt::format(
        "slurm:{}: expected the long name of an option of sbatch, such as slurm:time", name));
  else if (kOwnOptions.contains(name))
    errors.push_back(fmt::format("slurm:{}: set by dissent itself", name));
  return fmt::format("--{}={}", name, value);
}

// slurm:signal, as 600 or B:USR1@600. Only the time can be chosen: the batch script expects USR1.
int64_t signal_cell(const SheetRow& row, Errors& errors) {
  const auto& text = row.cell("slurm:signal");
  if (text.empty()) return 0;
  std::string number = text;
  for (const char* start : {"B:", "SIGUSR1@", "USR1@", "10@"})
    if (number.starts_with(start)) number.erase(0, std::string_view(start).size());

  // Less than 30 s are too few for a checkpoint; 65535 is the limit of sbatch.
  int64_t value = 0;
  const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (code == std::errc() && end == number.data() + number.size() && value >= 30 && value <= 65535)
    return value;

  errors.push_back(
      fmt::format("slurm:signal: expected the number of seconds before the time limit at which the "
                  "job is signalled, 30 .. 65535, such as 600 or B:USR1@600; found {}",
                  toml_text(text)));
  return 0;
}

std::string key_of(const Job& job, const Resolution& resolution) {
  // What is computed and where it goes. Ranks, threads and options of Slurm are not part of it:
  // with others it is still the same job.
  const std::string identity =
      fmt::format("{}\n{}\n{}", job.verb, resolution.hash, resolution.place);
  return fmt::format("{}-{:016x}", as_name(job.verb),
                     XXH3_64bits(identity.data(), identity.size()));
}

// Fills the fields that follow from the row's cells alone.
void read_cells(const SheetRow& row, Job& job, Errors& errors) {
  job.verb = row.cell("verb");
  job.config = row.cell("config");
  if (job.verb.empty())
    errors.push_back("verb: expected the verb that the row runs, found an empty cell");

  // Each cell that cannot be read adds an error and gets its default: all problems of a row are
  // reported together.
  job.ranks = integer_cell(row, "ranks", 1, 1, errors);
  job.threads = integer_cell(row, "threads", 1, 1, errors);
  job.gpus = integer_cell(row, "gpus", 0, 0, errors);
  job.retries = integer_cell(row, "retries", 0, 2, errors);
  job.enabled = flag_cell(row, "enabled", true, errors);
  job.set_to_run = flag_cell(row, kWhetherToRun, false, errors);
  job.stage = flag_cell(row, "stage", false, errors);
  job.arguments = list_cell(row.cell("arguments"), "arguments", errors);
  job.after_names = words(row.cell("after"));

  // The template becomes part of a path: a name with a slash would leave the folder slurm/.
  if (!row.cell("template").empty()) job.template_name = row.cell("template");
  if (job.template_name != as_name(job.template_name))
    errors.push_back(
        fmt::format("template: expected the name of a batch script, such as one_node, found {}",
                    toml_text(job.template_name)));

  // Columns with a prefix name their key or option; an empty cell leaves it as it is.
  for (const auto& [column, cell] : row.cells) {
    if (cell.empty()) continue;
    if (column.starts_with("set:")) job.overrides.push_back(override_text(column.substr(4), cell));
    if (column.starts_with("slurm:") && column != "slurm:signal")
      job.slurm.push_back(slurm_option(column.substr(6), cell, errors));
  }
  job.signal_s = signal_cell(row, errors);
  if (job.signal_s > 0) job.slurm.push_back(fmt::format("--signal=B:USR1@{}", job.signal_s));
}

Job job_of(const SheetRow& row, const Resolver& resolve, Errors& errors) {
  Job job;
  job.name = row.name;
  job.group = row.group;
  job.line = row.line;
  job.cells = row.cells;
  read_cells(row, job, errors);
  if (!errors.empty() || !job.enabled) return job;

  // A row whose whether_to_run is 0 does not run. Its key is kept all the same: with it a change of
  // the cell to 1 is noticed after the job was done (note_off).
  const bool left_out = !row.cell(kWhetherToRun).empty() && !job.set_to_run;
  if (left_out) {
    job.enabled = false;
    try {
      job.resolution = resolve(job.verb, job.config, job.overrides, job.arguments);
      job.off_key = key_of(job, job.resolution);
    } catch (const Error&) {
      // With such a configuration it cannot have run.
    }
    return job;
  }

  job.resolution = resolve(job.verb, job.config, job.overrides, job.arguments);
  job.key = key_of(job, job.resolution);
  return job;
}

void check_same(const std::string& path, const std::vector<Job>& jobs, Errors& errors) {
  std::map<std::string, const Job*> first;
  for (const auto& job : jobs) {
    if (job.key.empty()) continue;

    // One state folder per key: two rows would write to the same one.
    const auto [at, added] = first.emplace(job.key, &job);
    if (!added)
      errors.push_back(
          fmt::format("{}:{}: '{}' is the same job as '{}' of line {}: verb, configuration and "
                      "place of the results are equal",
                      path, job.line, job.name, at->second->name, at->second->line));
  }
}

// Whether `name` in a cell `after` means this job: its name, its row's name before expansion, or a
// pattern.
bool is_named(const Job& job, const std::string& name) {
  return job.name == name || job.group == name || fnmatch(name.c_str(), job.name.c_str(), 0) == 0;
}

// Replaces names in `after` by keys. A row that is not enabled counts as done.
void connect(const std::string& path, std::vector<Job>& jobs, Errors& errors) {
  std::vector<std::string> names;
  for (const auto& job : jobs) names.push_back(job.name);

  for (auto& job : jobs)
    for (const auto& name : job.after_names) {
      bool found = false;

      // A name may mean several jobs: the rows of a record with alternatives, or those that fit a
      // pattern.
      for (const auto& other : jobs) {
        if (!is_named(other, name)) continue;
        found = true;
        const bool known =
            std::find(job.after.begin(), job.after.end(), other.key) != job.after.end();
        if (other.key.empty() || known) continue;
        job.after.push_back(other.key);
        job.after_rows.push_back(other.name);
      }
      if (found) continue;

      const auto near = nearest(name, names);
      errors.push_back(fmt::format("{}:{}: after: expected the name of a row, found '{}'{}", path,
                                   job.line, name,
                                   near ? fmt::format("; did you mean '{}'?", *near) : ""));
    }
}

// Topological sorting: jobs whose dependencies are all done count as done, until nothing changes.
// What is left is part of a cycle or waits for one.
void check_circles(const std::string& path, const std::vector<Job>& jobs, Errors& errors) {
  std::map<std::string, const Job*> by_key;
  for (const auto& job : jobs)
    if (!job.key.empty()) by_key[job.key] = &job;

  // At most as many rounds as the longest chain of rows, since each round finishes at least one of
  // them.
  std::set<std::string> done;
  const auto is_done = [&](const std::string& key) { return done.contains(key); };
  bool changed = true;
  while (changed) {
    changed = false;
    for (const auto& [key, job] : by_key) {
      if (is_done(key) || !std::all_of(job->after.begin(), job->after.end(), is_done)) continue;
      done.insert(key);
      changed = true;
    }
  }

  Errors names;
  for (const auto& [key, job] : by_key)
    if (!is_done(key)) names.push_back(job->name);
  if (!names.empty())
    errors.push_back(
        fmt::format("{}: after: these rows wait for each other: {}", path, fmt::join(names, ", ")));
}

}  // namespace

VerbKind verb_kind(const std::string& verb) {
  static constexpr EnumName<VerbKind> kVerbKinds[] = {{VerbKind::kTrain, "train"},
                                                      {VerbKind::kPlan, "plan"},
                                                      {VerbKind::kCache, "cache"},
                                                      {VerbKind::kEvaluate, "evaluate"}};
  return value_in(kVerbKinds, verb).value_or(VerbKind::kOther);
}

std::string override_text(const std::string& key, const std::string& cell) {
  const std::string text = key + "=" + cell;

  // A cell that is a TOML value (a number, a list) is taken as it is; any other text becomes a
  // string. A cell of several lines could hold further keys, so it is always a string.
  config::ConfigErrors errors;
  if (cell.find_first_of("\r\n") == std::string::npos) {
    config::parse_toml(text, "", errors);
    if (errors.empty()) return text;
  }
  return key + "=" + toml_text(cell);
}

std::string sheet_mark(const std::string& path) {
  const auto full = std::filesystem::absolute(path).lexically_normal().string();
  return fmt::format("{:016x}", XXH3_64bits(full.data(), full.size()));
}

std::vector<std::string> Job::command() const {
  std::vector<std::string> out{verb};
  if (!config.empty()) out.push_back(config);
  for (const auto& text : overrides) out.insert(out.end(), {"--set", text});
  out.insert(out.end(), arguments.begin(), arguments.end());
  return out;
}

namespace {

// Adds each line of a message, with the place of its row.
void add_lines(const std::string& place, const std::string& message, Errors& errors) {
  for (size_t at = 0; at < message.size();) {
    const size_t end = std::min(message.find('\n', at), message.size());
    errors.push_back(place + message.substr(at, end - at));
    at = end + 1;
  }
}

}  // namespace

std::vector<Job> make_jobs(const Sheet& sheet, const Resolver& resolve) {
  Errors errors;
  std::vector<Job> jobs;
  const auto mark = sheet_mark(sheet.path);
  for (const auto& row : sheet.rows) {
    Errors own;
    try {
      jobs.push_back(job_of(row, resolve, own));
      jobs.back().sheet_mark = mark;
    } catch (const Error& error) {
      own.push_back(error.what());
    }

    // All errors of a sheet are reported at once, with the line of their row.
    const auto place = fmt::format("{}:{}: {}: ", sheet.path, row.line, row.name);
    for (const auto& message : own) add_lines(place, message, errors);
  }

  // Each check relies on those before it.
  if (errors.empty()) check_same(sheet.path, jobs, errors);
  if (errors.empty()) connect(sheet.path, jobs, errors);
  if (errors.empty()) check_circles(sheet.path, jobs, errors);
  DISSENT_CHECK(errors.empty(), kUsage, "{}", fmt::join(errors, "\n"));
  check_places(sheet.path, jobs);
  return jobs;
}

std::vector<Job> picked(const std::vector<Job>& jobs, const Sheet& sheet,
                        const std::vector<std::string>& conditions) {
  std::set<std::string> names;
  for (const auto& row : where(sheet, conditions)) names.insert(row.name);
  std::vector<Job> out;
  for (const auto& job : jobs)
    if (names.contains(job.name)) out.push_back(job);
  return out;
}

}  // namespace dissent::jobs
