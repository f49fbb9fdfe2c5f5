// dissent-compute: every verb.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "cli/compute.hpp"
#include "cli/jobs_check.hpp"
#include "cli/jobs_resolve.hpp"
#include "cli/light_verbs.hpp"
#include "cli/schemas.hpp"
#include "cli/verb.hpp"
#include "core/device_math.hpp"
#include "core/exit_codes.hpp"
#include "core/launcher.hpp"
#include "core/standard_output.hpp"
#include "core/stop.hpp"
#include "core/torch_failure.hpp"
#include "report/saliency_plot.hpp"
#include "storage/atomic_file.hpp"
#include "storage/exit_record.hpp"
#include "storage/h5.hpp"

namespace dissent::cli {
namespace {

using Arguments = std::vector<std::string>;

// Results go to stdout and the log to stderr, both from rank 0 only; a log line has key=value pairs
// after the time.
void start_log(int rank) {
  auto logger = spdlog::stderr_logger_st("dissent");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S%z level=%l %v");
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::off);
  spdlog::set_default_logger(logger);
}

// Verbs that run in one process, without MPI. jobs and replay start MPI programs; the others have
// nothing to distribute.
using RunAlone = int (*)(const CommandLine& line);
const std::map<std::string, RunAlone>& alone() {
  static const std::map<std::string, RunAlone> verbs{
      {"config", [](const CommandLine& line) { return run_config(line, declared()); }},
      {"imglist", run_imglist},
      {"tables", run_tables},
      {"plot", [](const CommandLine& line) { return run_plot(line, report::draw_saliency); }},
      {"jobs",
       [](const CommandLine& line) {
         const auto description = [](const std::string& name) {
           return config::Description::of(declared().schema(name));
         };
         return run_jobs(line, job_resolver(description), description, check_rows);
       }},
      {"replay", run_replay},
  };
  return verbs;
}

// Verbs that all ranks run together.
using RunTogether = int (*)(Runtime& runtime, const CommandLine& line);
const std::map<std::string, RunTogether>& together() {
  static const std::map<std::string, RunTogether> verbs{
      {"train", run_train},       {"plan", run_plan},       {"cache", run_cache},
      {"evaluate", run_evaluate}, {"inspect", run_inspect}, {"verify", run_verify_verb},
      {"export", run_export},     {"doctor", run_doctor},
  };
  return verbs;
}

bool is_pack(const Arguments& arguments) {
  return arguments.size() > 1 && arguments[0] == "jobs" && arguments[1] == "pack";
}

// The verb of these arguments if it runs in one process, else nullptr.
const Verb* verb_alone(const Arguments& arguments) {
  if (arguments.empty() || is_pack(arguments) || !alone().contains(arguments[0])) return nullptr;
  return &verb(arguments[0]);
}

// Runs a verb in this process, without MPI. Under a launcher each process does so by itself.
int run_alone(const Verb& verb, const Arguments& arguments) {
  start_log(0);
  const bool first = is_first_rank();
  try {
    auto line = verb.line();
    if (!line.parse(first, {arguments.begin() + 1, arguments.end()})) return 0;

    // Several ranks that write one file would disturb each other: the others do nothing.
    if (verb.first_rank_alone && !first) return 0;
    return alone().at(verb.name)(line);
  } catch (...) {
    const auto failure = current_failure();
    if (!failure.agreed || first) fmt::print(stderr, "dissent: {}\n", failure.message);
    if (failure.agreed) let_first_rank_speak();
    return exit_code(failure.kind);
  }
}

int run(Runtime& runtime, const Arguments& arguments) {
  // `dissent` prints these texts itself; here they are for dissent-compute called by hand.
  const int rank = runtime.world().rank();
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    if (rank == 0) fmt::print("{}", program_help());
    return arguments.empty() ? exit_code(ErrorKind::kUsage) : 0;
  }
  if (arguments[0] == "--version") {
    if (rank == 0) fmt::print("{}", program_version());
    return 0;
  }
  if (is_pack(arguments)) return run_jobs_pack(runtime, {arguments.begin() + 1, arguments.end()});
  return run_verb(runtime, arguments[0], {arguments.begin() + 1, arguments.end()});
}

// What is kept of a verb that a signal stopped, and how to continue it.
std::string stopped_text(const std::string& verb) {
  return fmt::format("dissent: stopped by a signal: {}; the same command continues\n",
                     verb == "cache"
                         ? "complete shards are kept"
                         : "evaluate.logits_cache and fitted states are kept, no result rows were "
                           "written");
}

// Prints an error and returns its exit code. An agreed error is printed by rank 0, and all ranks
// finalise together. Any other error ends the job with MPI_Abort; if several ranks fail at the same
// time, the first one prints its error and aborts, and the others wait for that.
int report(Runtime& runtime, const Failure& failure) {
  // Ending together lets MPI and HDF5 finalise; aborting is for ranks that wait in a collective for
  // one that has failed.
  const auto& [kind, message, agreed] = failure;
  const int rank = runtime.world().rank(), ranks = runtime.world().size();
  if (agreed && rank == 0) fmt::print(stderr, "dissent: {}\n", message);
  if (agreed || ranks == 1) {
    if (!agreed) fmt::print(stderr, "dissent: {}\n", message);
    return exit_code(kind);
  }

  if (!runtime.first_to_fail())
    std::this_thread::sleep_for(std::chrono::seconds(10));
  else
    fmt::print(stderr, "dissent: rank {} on {}: {}\n", rank, host_name(), message);
  std::fflush(stderr);
  runtime.abort(exit_code(kind));
}

}  // namespace

int run_verb(Runtime& runtime, const std::string& name, const Arguments& arguments) {
  const int rank = runtime.world().rank();
  set_device_math({});  // in a pack, the previous job may have set it
  auto line = verb(name).line();
  if (!line.parse(rank == 0, arguments)) return 0;

  if (const auto found = together().find(name); found != together().end())
    return found->second(runtime, line);

  // Under mpirun a verb for one process runs on rank 0; the others wait for its exit code.
  int64_t code = 0;
  agree(runtime.world(), [&] {
    if (rank == 0) code = alone().at(name)(line);
  });
  return static_cast<int>(all_gather_integer(runtime.world(), code)[0]);
}

}  // namespace dissent::cli

namespace dissent {
namespace {

int run_main(int argc, char** argv, std::vector<std::string> arguments, ExitRecord& record) {
  const bool mpi = !arguments.empty() && arguments[0] == "--mpi";
  if (mpi) arguments.erase(arguments.begin());

  // As early as possible: before, a signal would kill the process (front.cpp holds them back).
  if (!arguments.empty() && can_be_stopped(arguments[0], arguments.size() > 1 ? arguments[1] : ""))
    install_stop_handlers();

  try {
    // The build compiles the output of --describe into `dissent`.
    if (arguments.size() == 2 && arguments[0] == "--describe") {
      atomic_write_text(arguments[1], cli::description_literal());
      return 0;
    }
    if (const auto* verb = cli::verb_alone(arguments)) return cli::run_alone(*verb, arguments);

    // HDF5 is initialised first: after MPI it would close files in MPI_Finalize, which may crash
    // after an error.
    h5_start_before_mpi();
    Runtime runtime(argc, argv, 600, mpi ? UseMpi::kAlways : UseMpi::kIfLaunched);

    if (runtime.world().rank() == 0) record.begin();
    cli::start_log(runtime.world().rank());
    try {
      return cli::run(runtime, arguments);
    } catch (const Stopped&) {
      if (runtime.world().rank() == 0) fmt::print(stderr, "{}", cli::stopped_text(arguments[0]));
      return kExitStopped;
    } catch (...) {
      return cli::report(runtime, current_failure());
    }
  } catch (...) {
    // MPI is not initialised here; an agreed error is found by each process on its own.
    const auto failure = current_failure();
    if (!failure.agreed || launched().rank == 0)
      fmt::print(stderr, "dissent: {}\n", failure.message);
    if (failure.agreed) let_first_rank_speak();
    return exit_code(failure.kind);
  }
}

}  // namespace
}  // namespace dissent

int main(int argc, char** argv) {
  using namespace dissent;
  prepare_output();
  report_uncaught(current_failure);
  ExitRecord record;
  const int code = finish_output(run_main(argc, argv, {argv + 1, argv + argc}, record));
  record.end(code);
  return code;
}
