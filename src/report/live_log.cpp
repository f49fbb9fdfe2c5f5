#include "report/live_log.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "core/enum_names.hpp"
#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

extern char** environ;

namespace dissent::report {
namespace {

namespace fs = std::filesystem;

constexpr double kCheckSeconds = 30;  // Python may start slowly from a slow file system

// As W&B's client reads WANDB_MODE; any other word turns it off.
constexpr EnumName<WandbMode> kEnvironmentModes[] = {{WandbMode::kOnline, "online"},
                                                     {WandbMode::kOnline, "run"},
                                                     {WandbMode::kOffline, "offline"},
                                                     {WandbMode::kOffline, "dryrun"}};

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

std::string send_to_wandb_script() {
  std::vector<std::string> places;
  if (const auto home = variable("DISSENT_HOME"); !home.empty())
    places.push_back(home + "/scripts");

  // The program may be in a build folder of the sources, or be installed.
  const auto program = fs::path(front_program()).parent_path();
  for (const char* up :
       {"../scripts", "../../scripts", "../../../scripts", "../share/dissent/scripts"})
    places.push_back((program / up).lexically_normal().string());

  for (const auto& place : places)
    if (path_exists(place + "/send_to_wandb")) return place + "/send_to_wandb";
  DISSENT_FAIL(kUsage,
               "runtime.wandb: expected scripts/send_to_wandb of dissent in {}, found none; set "
               "DISSENT_HOME",
               fmt::join(places, ", "));
}

// Where a Python with the client may be, in the order of preference.
std::vector<std::string> pythons() {
  // No other one is tried, so that a mistake in the variable is reported.
  if (const auto given = variable("DISSENT_PYTHON"); !given.empty()) return {given};
  std::vector<std::string> found;
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const auto prefix = variable(name); !prefix.empty())
      found.push_back(prefix + "/bin/python3");

  // Environments that scripts/setup makes in the source tree.
  const auto program = fs::path(front_program()).parent_path();
  for (const char* up : {"..", "../..", "../../.."})
    for (const char* name : {".venv-wandb", ".venv"})
      found.push_back((program / up / name / "bin/python3").lexically_normal().string());
  std::erase_if(found, [](const std::string& path) { return !path_exists(path); });
  found.emplace_back("python3");
  return found;
}

void wait_a_moment() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }

// Why this Python cannot be used in this mode; "" if it can.
std::string problem_of(const std::string& python, const std::string& script, WandbMode mode) {
  CapturedOutput output;
  try {
    output = run_captured({python, script, "--check", name_in(kWandbModes, mode)}, kCheckSeconds);
  } catch (const Error& error) {
    return error.what();
  }
  if (output.code == 0) return "";
  if (output.code == kTimedOut) return fmt::format("no answer within {:.0f} s", kCheckSeconds);

  // The script prints the reason.
  auto message = output.out;
  while (!message.empty() && message.back() == '\n') message.pop_back();
  return message.empty() ? fmt::format("exit code {}", output.code) : message;
}

WandbMode mode_of_environment() {
  // As the client does: WANDB_MODE first, else a key means that values are sent.
  const auto mode = variable("WANDB_MODE");
  if (!mode.empty()) return value_in(kEnvironmentModes, mode).value_or(WandbMode::kOff);
  return variable("WANDB_API_KEY").empty() ? WandbMode::kOff : WandbMode::kOnline;
}

}  // namespace

std::string WandbPlan::to_text() const {
  return nlohmann::json{
      {"on", on}, {"command", command}, {"environment", environment}, {"note", note}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

WandbPlan WandbPlan::from_text(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  WandbPlan plan;
  plan.on = json.at("on").get<bool>();
  plan.command = json.at("command").get<std::vector<std::string>>();
  plan.environment = json.at("environment").get<std::vector<std::string>>();
  plan.note = json.at("note").get<std::string>();
  return plan;
}

namespace {

// The command that follows a run, of the first Python that can; if there is none, `problems` has
// the reason for each.
std::vector<std::string> find_command(WandbMode mode, std::string& problems) {
  const auto script = send_to_wandb_script();
  for (const auto& python : pythons()) {
    // The script checks whether the client is installed and, for `online`, whether it may send.
    const auto problem = problem_of(python, script, mode);
    if (problem.empty()) return {python, script};
    if (!problems.empty()) problems += "; ";
    problems += fmt::format("{}: {}", python, problem);
  }
  return {};
}

}  // namespace

WandbPlan plan_wandb(const WandbSettings& settings) {
  WandbPlan plan;
  const bool by_environment = settings.mode == WandbMode::kAuto;
  const auto mode = by_environment ? mode_of_environment() : settings.mode;
  if (mode == WandbMode::kOff) return plan;

  // What only the environment requests does not stop a training.
  std::string problems;
  try {
    plan.command = find_command(mode, problems);
  } catch (const Error& error) {
    if (!by_environment) throw;
    problems = error.what();
  }

  // An explicit online or offline is an error without the client; "auto" is only noted.
  plan.on = !plan.command.empty();
  if (!plan.on) {
    plan.note = fmt::format(
        "{} (scripts/setup --wandb installs the client; DISSENT_PYTHON selects another Python)",
        problems);
    DISSENT_CHECK(by_environment, kUsage, "runtime.wandb = \"{}\": {}", name_in(kWandbModes, mode),
                  plan.note);
    return plan;
  }

  if (mode == WandbMode::kOffline) plan.command.emplace_back("--offline");
  if (!settings.project.empty())
    plan.command.insert(plan.command.end(), {"--project", settings.project});
  if (!settings.entity.empty())
    plan.command.insert(plan.command.end(), {"--entity", settings.entity});

  // The plan is made by rank 0, whose environment ranks on other nodes may not have.
  for (char** at = environ; *at; ++at)
    if (std::string_view(*at).starts_with("WANDB_")) plan.environment.emplace_back(*at);
  return plan;
}

WandbProcess::WandbProcess(const WandbPlan& plan, const std::string& folder, bool anew) noexcept
    : folder_(folder) {
  if (!plan.on) return;
  try {
    // What an earlier run wrote would be taken for the state of this one.
    if (anew) remove_file(folder + "/wandb.json");
    const auto log = folder + "/wandb.log";
    auto argv = plan.command;
    argv.insert(argv.end(), {folder, "--follow", "--parent", std::to_string(getpid())});

    // The variables of the rank that made the plan, which this rank may not have.
    std::vector<std::pair<std::string, std::string>> environment;
    for (const auto& text : plan.environment) {
      const auto equals = text.find('=');
      environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }

    // It outlives this process: it may still have to send data.
    process_ = start_process({.argv = argv,
                              .environment = environment,
                              .in = "/dev/null",
                              .out = log,
                              .err = log,
                              .dies_with_parent = false,
                              .own_session = true});
    spdlog::info("event=wandb_started folder={} process={} log={}", folder, process_, log);
  } catch (const std::exception& error) {
    process_ = -1;
    spdlog::warn("event=wandb_not_started folder={} reason=\"{}\"", folder, error.what());
  }
}

bool WandbProcess::ended() noexcept {
  const auto code = poll_exit_code(process_);
  if (code) code_ = *code;
  return code.has_value();
}

void WandbProcess::look() noexcept {
  if (process_ <= 0) return;
  if (ended()) return report_end();
  if (shown_) return;
  try {
    // The process writes its state there; until it is known nothing is shown.
    const auto path = folder_ + "/wandb.json";
    if (!path_exists(path)) return;
    const auto json = parse_record(read_text(path));

    // The file may still be that of an earlier process.
    const bool own = json.value("process", int64_t{0}) == process_;
    if (!own || json.value("state", "") == "starting") return;

    shown_ = true;
    const auto reason = json.value("reason", ""), files = json.value("files", ""),
               url = json.value("url", "");

    // A reason: the client could not send and keeps the values for a later `wandb sync`.
    warned_ = !reason.empty();
    if (warned_)
      spdlog::warn("event=wandb_offline folder={} reason=\"{}\" sync=\"wandb sync {}\"", folder_,
                   reason, files);
    else
      spdlog::info("event=wandb mode={} {}={}", json.value("mode", ""),
                   url.empty() ? "files" : "url", url.empty() ? files : url);
  } catch (const std::exception&) {
    return;  // being rewritten: it is read again after the next epoch
  }
}

void WandbProcess::report_end() noexcept {
  process_ = -1;
  std::string state, reason, files;
  try {
    const auto json = nlohmann::json::parse(read_text(folder_ + "/wandb.json"));
    state = json.value("state", "");
    reason = json.value("reason", "");
    files = json.value("files", "");
  } catch (const std::exception&) {
    state = "none";
  }

  // What was already reported as offline is not reported again.
  constexpr int kFellBack = 10, kLeft = 11;  // exit codes of scripts/send_to_wandb
  if (code_ == 0 || (code_ == kFellBack && warned_))
    spdlog::info("event=wandb_finished folder={} state={}", folder_, state);
  else if (code_ == kFellBack || code_ == kLeft)
    spdlog::warn("event=wandb_offline folder={} reason=\"{}\" sync=\"wandb sync {}\"", folder_,
                 reason, files);
  else
    spdlog::warn(
        "event=wandb_ended folder={} code={} log={}/wandb.log note=\"the training continues\"",
        folder_, code_, folder_);
}

void WandbProcess::finish(double deadline) noexcept {
  if (process_ <= 0) return;

  // Waits for the rest to be sent, but not beyond the deadline of the job: the process continues
  // alone.
  while (!ended()) {
    if (steady_s() < deadline) {
      wait_a_moment();
      continue;
    }
    spdlog::info("event=wandb_left folder={} process={} note=\"still sending: left running\"",
                 folder_, process_);
    process_ = -1;
    return;
  }
  report_end();
}

}  // namespace dissent::report
