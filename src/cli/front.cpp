// dissent: runs the verbs that compute nothing (help, configurations, sheets, tables, plots) and
// replaces itself with dissent-compute for all others, so that LibTorch, MPI and HDF5 are loaded
// only where they are used.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dissent/error.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/jobs_resolve.hpp"
#include "cli/light_verbs.hpp"
#include "cli/verb.hpp"
#include "config/described.hpp"
#include "core/failure.hpp"
#include "core/launcher.hpp"
#include "core/program_paths.hpp"
#include "core/standard_output.hpp"
#include "core/stop.hpp"

namespace dissent::cli {
namespace {

using Arguments = std::vector<std::string>;

// The schemas and pages that dissent-compute described at build time.
class Described {
 public:
  const config::Description& description(const std::string& name) {
    auto& found = descriptions_[name];
    if (!found) found = config::Description::from_json(part("schemas", name));
    return *found;
  }
  // A schema refers to its configuration, which has to outlive it.
  config::Schema schema(const std::string& name) {
    auto& config = configs_[name];
    if (!config) config = std::make_unique<config::DescribedConfig>(description(name));
    return config->schema();
  }
  std::string page(const std::string& name) const { return part("pages", name); }

 private:
  std::string part(const char* kind, const std::string& name) const {
    static const auto all = nlohmann::json::parse(
#include "description.inc"
    );
    return all.at(kind).at(name);
  }
  std::map<std::string, std::optional<config::Description>> descriptions_;
  std::map<std::string, std::unique_ptr<config::DescribedConfig>> configs_;
};

// Replaces this process with dissent-compute under the name `name`: ps shows `dissent train ...`.
[[noreturn]] void become_compute(std::string name, const Arguments& arguments) {
  const auto program = compute_program();
  std::vector<char*> argv{name.data()};

  // execv takes pointers to characters that may change, so the words are copied.
  auto words = arguments;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  execv(program.c_str(), argv.data());
  DISSENT_FAIL(kUsage, "{}: cannot be started: {}", program, std::strerror(errno));
}

// Whether this program runs a command of `jobs`. The others need the checks of dissent-compute,
// which go beyond the schema of a configuration.
bool is_light(const CommandLine& line) {
  const auto& word = line.positional()[0];
  if (word == "status") return !line.flag("dry-run");  // --dry-run checks every row
  return word == "import" || word == "exec" || word == "stage";
}

// Runs the verb if it belongs to this program. The exit code, or nothing.
std::optional<int> run_here(const std::string& name, const CommandLine& line) {
  Described described;
  if (name == "config")
    return run_config(line, {[&](const std::string& n) { return described.schema(n); },
                             [&](const std::string& n) { return described.page(n); }});
  if (name == "imglist") return run_imglist(line);
  if (name == "tables") return run_tables(line);
  // Saliency maps are in HDF5 files, which only dissent-compute can read.
  if (name == "plot" && line.positional()[0] != "saliency") return run_plot(line, nullptr);
  if (name == "jobs" && is_light(line)) {
    const auto description = [&](const std::string& n) { return described.description(n); };
    return run_jobs(line, job_resolver(description), description, nullptr);
  }
  return std::nullopt;
}

// Holds back the stop signals until dissent-compute, or `jobs exec`, has installed its handlers.
void hold_signals(int argc, char** argv) {
  const int verb = argc > 1 && std::strcmp(argv[1], "--mpi") == 0 ? 2 : 1;

  // A signal between the start and the handlers of dissent-compute would end the run without a
  // checkpoint; the mask survives execv.
  const auto word = [&](int i) { return std::string(i < argc ? argv[i] : ""); };
  if (can_be_stopped(word(verb), word(verb + 1)) ||
      (word(verb) == "jobs" && word(verb + 1) == "exec"))
    hold_stop_signals();
}

int run(const std::string& program, const Arguments& arguments) {
  // Under a launcher every rank runs this program; one of them prints.
  const bool first = is_first_rank();
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    if (first) fmt::print("{}", program_help());
    return arguments.empty() ? exit_code(ErrorKind::kUsage) : 0;
  }
  if (arguments[0] == "--version") {
    if (first) fmt::print("{}", program_version());
    return 0;
  }

  // Only dissent-compute is linked with MPI.
  if (arguments[0] == "--mpi") become_compute(program, arguments);

  // `jobs pack` is the one command of `jobs` that computes with MPI.
  const auto& chosen = verb(arguments[0]);
  const std::string name = chosen.name;
  const Arguments rest(arguments.begin() + 1, arguments.end());
  if (name == "jobs" && !rest.empty() && rest[0] == "pack") become_compute(program, arguments);

  // Help texts and usage errors are printed here, before anything is loaded.
  auto line = chosen.line();
  if (!line.parse(first, rest)) return 0;
  if (chosen.first_rank_alone && !first) return 0;
  if (const auto code = run_here(name, line)) return *code;
  become_compute(program, arguments);
}

int run_main(const std::string& program, const Arguments& arguments) {
  try {
    return run(program, arguments);
  } catch (...) {
    // Every rank has the same usage error; rank 0 prints it.
    const auto failure = current_light_failure();
    if (!failure.agreed || is_first_rank()) fmt::print(stderr, "dissent: {}\n", failure.message);
    if (failure.agreed) let_first_rank_speak();
    return exit_code(failure.kind);
  }
}

}  // namespace
}  // namespace dissent::cli

int main(int argc, char** argv) {
  using namespace dissent;

  // First of all: from here on a stop signal waits until its handler is installed.
  cli::hold_signals(argc, argv);
  prepare_output();
  report_uncaught(current_light_failure);

  auto logger = spdlog::stderr_logger_st("dissent");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S%z level=%l %v");
  spdlog::set_default_logger(logger);
  return finish_output(cli::run_main(argv[0], {argv + 1, argv + argc}));
}
