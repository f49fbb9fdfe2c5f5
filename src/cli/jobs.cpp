#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dissent/error.hpp>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cli/jobs_cost.hpp"
#include "cli/jobs_settings.hpp"
#include "cli/light_verbs.hpp"
#include "core/enum_names.hpp"
#include "core/options.hpp"
#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "core/standard_output.hpp"
#include "core/wandb_mode.hpp"
#include "jobs/execute.hpp"
#include "jobs/import.hpp"
#include "jobs/local.hpp"
#include "jobs/stage.hpp"
#include "jobs/submit.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {
namespace {

namespace fs = std::filesystem;

// The first word of `dissent jobs`.
enum class Action { kRun, kSubmit, kStatus, kAgain, kImport, kExec, kStage };
constexpr EnumName<Action> kActions[] = {{Action::kRun, "run"},       {Action::kSubmit, "submit"},
                                         {Action::kStatus, "status"}, {Action::kAgain, "again"},
                                         {Action::kImport, "import"}, {Action::kExec, "exec"},
                                         {Action::kStage, "stage"}};

std::string absolute(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

struct LoadedSheet {
  jobs::Sheet sheet;
  std::vector<jobs::Job> all, picked;
};

using Describe = std::function<config::Description(const std::string& name)>;

LoadedSheet load(const CommandLine& line, const std::string& path, const jobs::Resolver& resolve,
                 const Describe& description) {
  LoadedSheet loaded;
  loaded.sheet = jobs::read_sheet(path);
  DISSENT_CHECK(!line.has("ranks") || line.get<int64_t>("ranks") >= 1, kUsage,
                "--ranks: expected an integer >= 1, found {}", line.get<int64_t>("ranks"));

  // Settings come before the jobs are made: they are part of a job's identity.
  apply_settings(loaded.sheet, line.get<std::vector<std::string>>("set"),
                 line.get<int64_t>("ranks"), description);

  loaded.all = jobs::make_jobs(loaded.sheet, resolve);
  const auto conditions = line.get<std::vector<std::string>>("where");
  loaded.picked = jobs::picked(loaded.all, loaded.sheet, conditions);

  // Conditions on columns that `status --csv` writes, as status=failed, may match no row.
  const bool on_status =
      std::any_of(conditions.begin(), conditions.end(), [](const std::string& condition) {
        return jobs::is_status_column(condition.substr(0, condition.find('=')));
      });
  DISSENT_CHECK(!loaded.picked.empty() || conditions.empty() || on_status, kUsage,
                "--where {}: expected a matching row in {}, found none",
                fmt::join(conditions, " --where "), path);
  return loaded;
}

std::vector<std::string> split_list(const std::string& text) {
  // Empty parts are skipped, so a comma at the end names no GPU.
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// The launcher for jobs with several ranks, with the options of scripts/mpirun: more ranks than
// cores are allowed, and so is root (in containers). The runner binds the cores itself.
std::vector<std::string> local_mpirun(const std::string& given) {
  if (!given.empty()) return {given};
  std::vector<std::string> argv{"mpirun"};

  // Only Open MPI has these options.
  const auto version = run_captured({"mpirun", "--version"});
  if (version.out.find("Open MPI") != std::string::npos ||
      version.out.find("OpenRTE") != std::string::npos) {
    argv.insert(argv.end(), {"--oversubscribe", "--bind-to", "none"});
    if (geteuid() == 0) argv.emplace_back("--allow-run-as-root");
  }
  return argv;
}

constexpr const char* kNoGpus = "none";  // of --gpus

bool any_needs_mpirun(const LoadedSheet& loaded, int64_t pack) {
  return pack > 1 || std::any_of(loaded.picked.begin(), loaded.picked.end(),
                                 [](const jobs::Job& job) { return job.ranks > 1; });
}

jobs::LocalOptions local_options(const CommandLine& line, const LoadedSheet& loaded) {
  const auto gpus = line.get<std::string>("gpus");
  jobs::LocalOptions options{
      .cores = own_cores(),
      .gpus = gpus == kNoGpus ? std::vector<std::string>() : split_list(gpus),
      .mpirun = {},
      .pack_ranks = line.get<int64_t>("pack")};

  // Fewer cores than the process may use, never others: those belong to other processes.
  if (const auto cores = line.get<int64_t>("cores"); cores > 0) {
    DISSENT_CHECK(cores <= static_cast<int64_t>(options.cores.size()), kUsage,
                  "--cores: expected 1 .. {}, the cores of this process, found {}",
                  options.cores.size(), cores);
    options.cores.resize(static_cast<size_t>(cores));
  }

  if (any_needs_mpirun(loaded, options.pack_ranks))
    options.mpirun = local_mpirun(line.get<std::string>("mpirun"));
  return options;
}

int run_here(const CommandLine& line, LoadedSheet loaded) {
  // No GPU is used, so no job waits for one.
  if (line.get<std::string>("gpus") == kNoGpus)
    for (auto* list : {&loaded.all, &loaded.picked})
      for (auto& job : *list) job.gpus = 0;
  const auto options = local_options(line, loaded);

  // The queue has all jobs of the sheet, since the picked ones may wait for others.
  jobs::Queue queue(loaded.all, loaded.picked, line.positional()[1],
                    absolute(line.get<std::string>("state")));
  const int code = jobs::run_local(queue, options);

  // The table of all rows, with what the runner does not print: dependencies and their causes.
  auto statuses = queue.statuses();
  jobs::note_run_since(queue.jobs(), statuses, queue.state_root());
  jobs::Slurm slurm;
  jobs::note_not_started(queue.jobs(), queue.jobs(), statuses, queue.state_root(), slurm);
  fmt::print("{}", jobs::status_table(queue.jobs(), statuses));
  return code;
}

int submit_there(const CommandLine& line, LoadedSheet loaded) {
  const auto templates = line.get<std::string>("templates");
  const jobs::SubmitOptions options{
      .slurm_folder = templates.empty() ? jobs::find_slurm_folder() : absolute(templates),
      .arrays = !line.flag("no-arrays"),
      .throttle = line.get<int64_t>("throttle"),
      .pack_ranks = line.get<int64_t>("pack")};

  // Slurm passes these variables on to the batch scripts, which find the program and their folder
  // by them.
  setenv("DISSENT_PROGRAM", front_program().c_str(), 0);
  setenv("DISSENT_HOME", fs::path(options.slurm_folder).parent_path().c_str(), 0);

  jobs::Queue queue(loaded.all, loaded.picked, line.positional()[1],
                    absolute(line.get<std::string>("state")));
  return jobs::submit(queue, options);
}

// Records the cells whether_to_run that status --csv has just set to 0: a 1 there runs the row
// again.
void note_written_off(const std::string& csv, const LoadedSheet& loaded,
                      const std::vector<jobs::Status>& statuses, const std::string& state_root) {
  const auto& columns = loaded.sheet.columns;
  if (std::find(columns.begin(), columns.end(), jobs::kWhetherToRun) == columns.end()) return;

  const auto mark = jobs::sheet_mark(csv);
  for (size_t i = 0; i < statuses.size(); ++i)
    if (statuses[i].phase == jobs::Phase::kDone || jobs::is_under_way(statuses[i].phase))
      jobs::put_off(jobs::job_folder(state_root, loaded.picked[i].key), statuses[i].state.number,
                    mark);
}

// Whether a job waits for one of these.
bool depends_on(const jobs::Job& job, const std::set<std::string>& keys) {
  return std::any_of(job.after.begin(), job.after.end(),
                     [&](const std::string& key) { return keys.contains(key); });
}

// Marks finished rows so that run or submit computes their results again.
void ask_again(const CommandLine& line, const LoadedSheet& loaded) {
  const auto state_root = absolute(line.get<std::string>("state"));
  jobs::Slurm slurm;
  std::set<std::string> again;
  for (const auto& job : loaded.picked) {
    // Only finished rows: the others run anyway, or are running.
    const auto status = jobs::status_of(job, state_root, slurm);
    if (status.phase != jobs::Phase::kDone) {
      fmt::print(stderr, "{}: {}, so there is no result to compute again\n", job.name,
                 jobs::phase_name(status.phase));
      continue;
    }

    jobs::put_again(jobs::job_folder(state_root, job.key), status.state.number);
    again.insert(job.key);
  }

  // Their dependents keep results that were computed from the old ones.
  for (const auto& job : loaded.all) {
    if (again.contains(job.key) || !depends_on(job, again)) continue;
    if (jobs::status_of(job, state_root, slurm).phase != jobs::Phase::kDone) continue;
    fmt::print(stderr,
               "{}: computed from the old result of a row that is run again; this row is not run "
               "again\n",
               job.name);
  }
}

// Checks all rows, and also the files of those that are going to be started.
SheetProblems problems_of(const CommandLine& line, const LoadedSheet& loaded, bool again,
                          CheckRows check) {
  // Every row of the sheet is classified, not only the picked ones: a picked row may read what
  // another one writes.
  const auto state_root = absolute(line.get<std::string>("state"));
  jobs::Slurm slurm;
  std::set<std::string> picked, start, done;
  for (const auto& job : loaded.picked) picked.insert(job.key);

  for (const auto& job : loaded.all) {
    if (job.key.empty()) continue;

    // `done`: their files have to exist. `start`: their input files are checked. Rows in neither
    // set are still to write their files, or are writing them.
    const auto phase = jobs::status_of(job, state_root, slurm).phase;
    const bool rerun = again && phase == jobs::Phase::kDone && picked.contains(job.key);
    if (phase == jobs::Phase::kDone && !rerun) done.insert(job.key);
    if (picked.contains(job.key) && (rerun || jobs::may_start(phase))) start.insert(job.key);
  }

  if (line.flag("no-files")) start.clear();
  return check(loaded.sheet.path, loaded.all, start, done);
}

void raise(const SheetProblems& problems) {
  if (problems.lines.empty()) return;

  // One exit code for all problems: wrong usage, if any row has that, else data.
  throw Error(problems.of_usage ? ErrorKind::kUsage : ErrorKind::kData,
              fmt::format("{}", fmt::join(problems.lines, "\n")), __FILE__, __LINE__);
}

std::vector<jobs::Status> statuses_of(const LoadedSheet& loaded, const std::string& state_root,
                                      jobs::Slurm& slurm) {
  std::vector<jobs::Status> statuses;

  // The answers of Slurm are kept for the jobs of one table, and asked again for the next one.
  slurm.forget();
  for (const auto& job : loaded.picked) statuses.push_back(jobs::status_of(job, state_root, slurm));

  jobs::note_run_since(loaded.picked, statuses, state_root);
  jobs::note_not_started(loaded.all, loaded.picked, statuses, state_root, slurm);
  return statuses;
}

int show_status(const CommandLine& line, const LoadedSheet& loaded) {
  const auto state_root = absolute(line.get<std::string>("state"));
  const auto csv = line.get<std::string>("csv");
  const bool watch = line.flag("watch");
  constexpr const char* kClearScreen = "\x1b[H\x1b[2J";

  // Cells that are 0 now are recorded by every call, so that a later 1 is recognised as a change.
  jobs::Slurm slurm;
  jobs::note_off(loaded.all, state_root, slurm);

  while (true) {
    const auto statuses = statuses_of(loaded, state_root, slurm);
    if (watch && isatty(STDOUT_FILENO)) fmt::print("{}", kClearScreen);
    fmt::print("{}", jobs::status_table(loaded.picked, statuses));
    std::fflush(stdout);

    if (!csv.empty()) {
      jobs::replace(csv, jobs::status_csv(loaded.sheet, loaded.picked, statuses));
      note_written_off(csv, loaded, statuses, state_root);
    }

    // --watch ends when no job is pending or running, or when no process reads the output any more.
    const bool over =
        std::none_of(statuses.begin(), statuses.end(),
                     [](const jobs::Status& status) { return jobs::is_under_way(status.phase); });
    if (!watch || over || output_lost()) return 0;
    std::this_thread::sleep_for(std::chrono::duration<double>(line.get<double>("seconds")));
  }
}

// Trainings inherit these variables, here or through sbatch. They change no result, so they are not
// part of a job's identity. A client that is missing here may exist on the nodes: each training
// checks it.
void export_logging(const CommandLine& line) {
  if (const auto mode = line.get<std::string>("wandb"); !mode.empty()) {
    const auto near = nearest(mode, name_list(kWandbModes));
    DISSENT_CHECK(value_in(kWandbModes, mode), kUsage, "--wandb: expected one of {}, found '{}'{}",
                  names_in(kWandbModes), mode,
                  near ? fmt::format("; did you mean '{}'?", *near) : "");
    setenv("DISSENT_WANDB", mode.c_str(), 1);
  }
  if (line.flag("tensorboard")) setenv("DISSENT_TENSORBOARD", "true", 1);
}

int64_t integer_of(const char* text, int64_t fallback) {
  return text && *text ? std::atoll(text) : fallback;
}

jobs::ExecuteOptions execute_options(std::vector<std::string> launcher) {
  DISSENT_CHECK(!launcher.empty(), kUsage,
                "jobs exec: expected the program, or the launcher and the program, after --");
  return {.launcher = std::move(launcher),
          .max_restarts = integer_of(std::getenv("DISSENT_MAX_RESTARTS"), 100)};
}

// jobs exec --command -- LAUNCHER... -- VERB ARGS...
int execute_single(std::vector<std::string> words) {
  const auto separator = std::find(words.begin(), words.end(), "--");
  DISSENT_CHECK(separator != words.end() && separator + 1 != words.end(), kUsage,
                "jobs exec --command: expected -- LAUNCHER... PROGRAM -- VERB ARGUMENTS...");
  const std::vector<std::string> command(separator + 1, words.end());
  words.erase(separator, words.end());
  return jobs::execute_command(command, execute_options(std::move(words)));
}

// jobs exec FOLDER NUMBER -- LAUNCHER..., or jobs exec --list LIST -- LAUNCHER..., where
// SLURM_ARRAY_TASK_ID selects an entry of the list.
int execute_one(const CommandLine& line) {
  std::vector<std::string> words(line.positional().begin() + 1, line.positional().end());
  if (line.flag("command")) return execute_single(std::move(words));

  // The batch script of an array is the same for all tasks: the list says which job a task runs.
  std::string folder;
  int64_t number = 0;
  if (const auto list = line.get<std::string>("list"); !list.empty()) {
    const auto entries = jobs::read_batch(list);
    const int64_t index = integer_of(std::getenv("SLURM_ARRAY_TASK_ID"), 0);
    DISSENT_CHECK(index >= 0 && index < static_cast<int64_t>(entries.size()), kUsage,
                  "SLURM_ARRAY_TASK_ID: expected 0 .. {}, the entries of {}, found {}",
                  static_cast<int64_t>(entries.size()) - 1, list, index);
    folder = entries[static_cast<size_t>(index)].folder;
    number = entries[static_cast<size_t>(index)].number;
  } else {
    DISSENT_CHECK(words.size() >= 2, kUsage, "jobs exec: expected FOLDER NUMBER -- LAUNCHER...");
    folder = absolute(words[0]);
    number = integer_of(words[1].c_str(), 0);
    words.erase(words.begin(), words.begin() + 2);
  }

  auto options = execute_options(std::move(words));
  options.grace_s = line.get<double>("grace");
  return jobs::execute(folder, number, options);
}

}  // namespace

int run_jobs(const CommandLine& line, const jobs::Resolver& resolve, const Describe& description,
             CheckRows check) {
  const auto& words = line.positional();
  const auto action = value_in(kActions, words[0]);
  DISSENT_CHECK(action, kUsage, "jobs: expected run, submit, status, again or import, found '{}'",
                words[0]);

  // These two take no sheet: they are called by batch scripts.
  if (action == Action::kExec) return execute_one(line);
  if (action == Action::kStage) return jobs::stage({words.begin() + 1, words.end()});

  DISSENT_CHECK(words.size() == 2, kUsage, "jobs {}: expected one sheet, found {}", words[0],
                words.size() - 1);
  if (action == Action::kImport) {
    const auto imported = jobs::import_sheet(words[1]);
    for (const auto& note : imported.notes) fmt::print(stderr, "{}\n", note);
    fmt::print("{}", imported.text);
    return 0;
  }

  // `again` without a selection would compute every result of the sheet once more.
  const bool again = action == Action::kAgain;
  DISSENT_CHECK(
      !again || !line.get<std::vector<std::string>>("where").empty(), kUsage,
      "jobs again: expected --where column=pattern, the rows to run again (--where 'name=*': "
      "all), found none");

  export_logging(line);
  auto loaded = load(line, words[1], resolve, description);
  const bool dry = line.flag("dry-run");
  if (action == Action::kStatus && !dry) return show_status(line, loaded);

  // A dry run prints the jobs before the problems.
  const auto problems = problems_of(line, loaded, again, check);
  if (dry)
    fmt::print("{}", dry_run(loaded.picked, loaded.all, problems.grids,
                             line.flag("no-cost") ? Costs::kNone
                             : line.flag("times") ? Costs::kTimes
                                                  : Costs::kCounted));

  std::fflush(stdout);
  raise(problems);
  if (dry) return 0;

  if (again) ask_again(line, loaded);

  // `again` has marked its rows; now they run as with `run`, or as with `submit` (--slurm).
  const bool here = action == Action::kRun || (again && !line.flag("slurm"));
  return here ? run_here(line, std::move(loaded)) : submit_there(line, std::move(loaded));
}

}  // namespace dissent::cli
