#include <c10/util/Exception.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include <spdlog/sinks/stdout_sinks.h>

#include "build_info.hpp"
#include "cli/verb.hpp"
#include "core/stop.hpp"

namespace dissent::cli {
namespace {

void print_help() {
  fmt::print(
      "dissent {}: trains, evaluates and compares diverse deep ensembles\n\nusage: [mpirun -n "
      "RANKS] dissent VERB [options] ...\n\n",
      DISSENT_VERSION);
  for (const auto& verb : verbs()) fmt::print("  {:<10}{}\n", verb.name, verb.summary);
  fmt::print(
      "\n`dissent VERB --help` describes a verb. Exit codes: 0 done, 2 wrong usage or "
      "configuration, 3 bad or missing data, 4 communication or device\n"
      "failure, 5 a check failed, 75 stopped on a signal with a checkpoint written.\n");
}

// Results go to stdout, the log to stderr, both from rank 0 alone; key=value pairs after the time.
void start_log(int rank) {
  auto logger = spdlog::stderr_logger_st("dissent");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S%z level=%l %v");
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::off);
  spdlog::set_default_logger(logger);
}

int run(Runtime& runtime, const std::vector<std::string>& arguments) {
  const int rank = runtime.world().rank();
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    if (rank == 0) print_help();
    return arguments.empty() ? exit_code(ErrorKind::kUsage) : 0;
  }
  if (arguments[0] == "--version") {
    if (rank == 0)
      fmt::print("dissent {} (LibTorch {}, HDF5 {}, CUDA {})\n", DISSENT_VERSION,
                 DISSENT_LIBTORCH_VERSION, DISSENT_HDF5_VERSION, DISSENT_WITH_CUDA ? "on" : "off");
    return 0;
  }
  return verb(arguments[0]).run(runtime, {arguments.begin() + 1, arguments.end()});
}

// An error that all ranks have is printed by rank 0, and all end in order. One that this rank has
// alone, or before the others know of it, ends the job; where several have one at the same time,
// the first prints it and its abort ends the others.
int report(Runtime& runtime, ErrorKind kind, const std::string& message, bool agreed) {
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

// Verbs that start programs of MPI and so must not start it themselves.
int run_alone(const Verb& verb, const std::vector<std::string>& arguments) {
  start_log(0);
  try {
    return verb.run_alone({arguments.begin() + 1, arguments.end()});
  } catch (const Error& error) {
    fmt::print(stderr, "dissent: {}\n", error.what());
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    fmt::print(stderr, "dissent: {}\n", error.what());
    return exit_code(ErrorKind::kInternal);
  }
}

}  // namespace
}  // namespace dissent::cli

int main(int argc, char** argv) {
  using namespace dissent;
  // As early as can be: until then a signal that asks to stop would kill.
  if (argc > 1 &&
      (std::string_view(argv[1]) == "train" ||
       (argc > 2 && std::string_view(argv[1]) == "jobs" && std::string_view(argv[2]) == "pack")))
    install_stop_handlers();
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (const auto* verb = cli::alone(arguments)) return cli::run_alone(*verb, arguments);
    Runtime runtime(argc, argv);
    cli::start_log(runtime.world().rank());
    try {
      return cli::run(runtime, arguments);
    } catch (const Error& error) {
      return cli::report(runtime, error.kind(), error.what(), error.agreed());
    } catch (const c10::Error& error) {
      return cli::report(runtime, ErrorKind::kInternal, error.what_without_backtrace(), false);
    } catch (const std::exception& error) {
      return cli::report(runtime, ErrorKind::kInternal, error.what(), false);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "dissent: {}\n", error.what());
    return exit_code(ErrorKind::kComm);
  }
}
