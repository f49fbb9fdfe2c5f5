#include "report/live_log.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "core/program_paths.hpp"
#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

extern char** environ;

namespace dissent::report {
namespace {

namespace fs = std::filesystem;

constexpr double kCheckSeconds = 30;  // a Python on a slow file system

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

std::string send_to_wandb_script() {
  std::vector<std::string> places;
  if (const auto home = variable("DISSENT_HOME"); !home.empty())
    places.push_back(home + "/scripts");
  const auto program = fs::path(front_program()).parent_path();
  for (const char* up :
       {"../scripts", "../../scripts", "../../../scripts", "../share/dissent/scripts"})
    places.push_back((program / up).lexically_normal().string());
  for (const auto& place : places)
    if (path_exists(place + "/send_to_wandb")) return place + "/send_to_wandb";
  DISSENT_FAIL(kUsage,
               "runtime.wandb: scripts/send_to_wandb of dissent is not in {}; set DISSENT_HOME",
               fmt::join(places, ", "));
}

std::vector<std::string> pythons() {
  if (const auto given = variable("DISSENT_PYTHON"); !given.empty()) return {given};
  std::vector<std::string> found;
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const auto prefix = variable(name); !prefix.empty())
      found.push_back(prefix + "/bin/python3");
  const auto program = fs::path(front_program()).parent_path();
  for (const char* up : {"..", "../..", "../../.."})
    for (const char* name : {".venv-wandb", ".venv"})
      found.push_back((program / up / name / "bin/python3").lexically_normal().string());
  std::erase_if(found, [](const std::string& path) { return !path_exists(path); });
  found.emplace_back("python3");
  return found;
}

// Starts a program by posix_spawn, in a session of its own, reading nothing. -1 and errno if it
// cannot be started.
pid_t spawn(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
            int out, int err) {
  std::map<std::string, std::string> variables;
  for (char** at = environ; *at; ++at) {
    const std::string text = *at;
    variables[text.substr(0, text.find('='))] = text;
  }
  for (const auto& text : environment) variables[text.substr(0, text.find('='))] = text;
  std::vector<char*> words, settings;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  for (const auto& [name, text] : variables) settings.push_back(const_cast<char*>(text.c_str()));
  words.push_back(nullptr);
  settings.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
#if __GLIBC_PREREQ(2, 34)
  posix_spawn_file_actions_addclosefrom_np(&files, 3);  // elsewhere the script does it
#endif
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGPIPE}) sigaddset(&usual, number);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t process = -1;
  const int code =
      posix_spawnp(&process, words[0], &files, &attributes, words.data(), settings.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  errno = code;
  return code == 0 ? process : -1;
}

void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }

// What a Python lacks for the mode; "": nothing.
std::string lacks(const std::string& python, const std::string& script, const std::string& mode) {
  std::array<int, 2> ends{};
  DISSENT_CHECK(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0, kUsage, "cannot start {}: {}",
                python, std::strerror(errno));
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  const pid_t process = spawn({python, script, "--check", mode}, {}, ends[1], nowhere);
  std::string said = process < 0 ? std::strerror(errno) : "";
  close(ends[1]);
  close(nowhere);
  int status = 0;
  pid_t got = 0;
  const double end = steady_s() + kCheckSeconds;
  while (process > 0 && (got = waitpid(process, &status, WNOHANG)) == 0 && steady_s() < end) nap();
  if (process > 0 && got == 0) {
    kill(process, SIGKILL);
    waitpid(process, nullptr, 0);
    said = fmt::format("no answer within {:.0f} s", kCheckSeconds);
  } else if (process > 0) {
    if (got < 0) status = -1;
    std::array<char, 1024> buffer{};
    const ssize_t count = read(ends[0], buffer.data(), buffer.size());
    said.assign(buffer.data(), static_cast<size_t>(std::max<ssize_t>(count, 0)));
    while (!said.empty() && said.back() == '\n') said.pop_back();
    if (status != 0 && said.empty()) said = fmt::format("status {} of its process", status);
    if (status == 0) said.clear();
  }
  close(ends[0]);
  return said;
}

std::string mode_of_environment() {
  const auto mode = variable("WANDB_MODE");
  if (mode == "online" || mode == "offline") return mode;
  if (mode == "dryrun") return "offline";
  if (mode == "run") return "online";
  if (!mode.empty()) return "off";  // disabled, shared
  return variable("WANDB_API_KEY").empty() ? "off" : "online";
}

}  // namespace

double steady_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

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

WandbPlan plan_wandb(const WandbWish& wish) {
  WandbPlan plan;
  const bool by_environment = wish.mode == "auto";
  const auto mode = by_environment ? mode_of_environment() : wish.mode;
  if (mode == "off") return plan;
  std::string missing;
  try {
    const auto script = send_to_wandb_script();
    for (const auto& python : pythons()) {
      const auto reason = lacks(python, script, mode);
      if (reason.empty()) {
        plan.on = true;
        plan.command = {python, script};
        break;
      }
      missing += fmt::format("{}{}: {}", missing.empty() ? "" : "; ", python, reason);
    }
  } catch (const Error& error) {
    if (!by_environment) throw;
    missing = error.what();
  }
  if (!plan.on) {
    const auto text = fmt::format(
        "{} (scripts/setup --wandb installs the client; DISSENT_PYTHON names another Python)",
        missing);
    DISSENT_CHECK(by_environment, kUsage, "runtime.wandb = \"{}\": {}", mode, text);
    plan.note = text;
    return plan;
  }
  if (mode == "offline") plan.command.emplace_back("--offline");
  if (!wish.project.empty()) plan.command.insert(plan.command.end(), {"--project", wish.project});
  if (!wish.entity.empty()) plan.command.insert(plan.command.end(), {"--entity", wish.entity});
  for (char** at = environ; *at; ++at)
    if (std::string_view(*at).starts_with("WANDB_")) plan.environment.emplace_back(*at);
  return plan;
}

WandbProcess::WandbProcess(const WandbPlan& plan, const std::string& folder, bool anew) noexcept
    : folder_(folder) {
  if (!plan.on) return;
  try {
    if (anew) remove_file(folder + "/wandb.json");
    const auto log = folder + "/wandb.log";
    const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    DISSENT_CHECK(file >= 0, kData, "{}: cannot open: {}", log, std::strerror(errno));
    auto argv = plan.command;
    argv.insert(argv.end(), {folder, "--follow", "--parent", std::to_string(getpid())});
    process_ = spawn(argv, plan.environment, file, file);
    const int code = errno;
    close(file);
    DISSENT_CHECK(process_ > 0, kData, "{}: cannot be started: {}", argv[0], std::strerror(code));
    spdlog::info("event=wandb_started folder={} process={} log={}", folder, process_, log);
  } catch (const std::exception& error) {
    process_ = -1;
    spdlog::warn("event=wandb_not_started folder={} reason=\"{}\"", folder, error.what());
  }
}

bool WandbProcess::ended() noexcept {
  int status = 0;
  const pid_t got = waitpid(process_, &status, WNOHANG);
  if (got == 0) return false;
  code_ = got < 0 ? 127 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return true;
}

void WandbProcess::look() noexcept {
  if (process_ <= 0) return;
  if (ended()) return report_end();
  if (shown_) return;
  try {
    const auto path = folder_ + "/wandb.json";
    if (!path_exists(path)) return;
    const auto json = parse_record(read_text(path));
    if (json.value("state", "") == "starting" || json.value("process", int64_t{0}) != process_)
      return;
    shown_ = true;
    const auto reason = json.value("reason", "");
    warned_ = !reason.empty();
    if (warned_)
      spdlog::warn("event=wandb_offline folder={} reason=\"{}\" sync=\"wandb sync {}\"", folder_,
                   reason, json.value("files", ""));
    else
      spdlog::info("event=wandb mode={} {}={}", json.value("mode", ""),
                   json.value("url", "").empty() ? "files" : "url",
                   json.value("url", "").empty() ? json.value("files", "") : json.value("url", ""));
  } catch (const std::exception&) {  // it is written again
    return;
  }
}

void WandbProcess::report_end() noexcept {
  process_ = -1;
  std::string state, reason, files;
  try {
    const auto json = nlohmann::json::parse(read_text(folder_ + "/wandb.json"));
    state = json.value("state", ""), reason = json.value("reason", "");
    files = json.value("files", "");
  } catch (const std::exception&) {
    state = "none";
  }
  constexpr int kFellBack = 10, kLeft = 11;  // exit codes of scripts/send_to_wandb
  if (code_ == 0 || (code_ == kFellBack && warned_))
    spdlog::info("event=wandb_finished folder={} state={}", folder_, state);
  else if (code_ == kFellBack || code_ == kLeft)
    spdlog::warn("event=wandb_offline folder={} reason=\"{}\" sync=\"wandb sync {}\"", folder_,
                 reason, files);
  else
    spdlog::warn(
        "event=wandb_ended folder={} code={} log={}/wandb.log note=\"the training goes on\"",
        folder_, code_, folder_);
}

void WandbProcess::finish(double deadline) noexcept {
  if (process_ <= 0) return;
  while (!ended()) {
    if (steady_s() < deadline) {
      nap();
      continue;
    }
    spdlog::info("event=wandb_left folder={} process={} note=\"still sending: left to itself\"",
                 folder_, process_);
    process_ = -1;
    return;
  }
  report_end();
}

}  // namespace dissent::report
