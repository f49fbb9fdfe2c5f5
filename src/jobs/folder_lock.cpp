#include "jobs/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <random>
#include <system_error>

#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "jobs/state.hpp"
#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

namespace dissent::jobs {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

std::string own_pid_namespace() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/ns/pid", ignored).string();
}

LockHolder this_holder() {
  // The nonce distinguishes the locks of one process, and of processes with the same number.
  std::random_device random;
  return {.by = this_process(),
          .pid_namespace = own_pid_namespace(),
          .slurm_job = environment("SLURM_JOB_ID"),
          .slurm_restart = std::atoll(environment("SLURM_RESTART_COUNT").c_str()),
          .time = now_s(),
          .nonce = fmt::format("{:08x}{:08x}", random(), random())};
}

std::string text_of(const LockHolder& holder) {
  nlohmann::ordered_json json{
      {"format", "dissent-lock"},      {"version", 1},
      {"host", holder.by.host},        {"pid", holder.by.pid},
      {"started", holder.by.started},  {"process_numbers", holder.pid_namespace},
      {"slurm_job", holder.slurm_job}, {"slurm_restart", holder.slurm_restart},
      {"time", holder.time},           {"nonce", holder.nonce},
  };
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

LockHolder holder_of(const std::string& text) {
  // A file that is not a lock's record has an unknown holder, which counts as gone only after its
  // silence; it is never an error, because a damaged lock must not block a result for ever.
  const auto json = parse_record(text, false);
  LockHolder holder;
  if (!json.is_object()) return holder;

  try {
    holder.by = {json.value("host", ""), json.value("pid", int64_t{0}),
                 json.value("started", int64_t{0})};
    holder.pid_namespace = json.value("process_numbers", "");
    holder.slurm_job = json.value("slurm_job", "");
    holder.slurm_restart = json.value("slurm_restart", int64_t{0});
    holder.time = json.value("time", 0.0);
  } catch (const nlohmann::json::exception&) {  // edited by hand: an unknown holder
  }
  return holder;
}

double modified_s(const struct stat& status) {
  return static_cast<double>(status.st_mtim.tv_sec) +
         1e-9 * static_cast<double>(status.st_mtim.tv_nsec);
}

// A lock file as it was read.
struct Found {
  std::string file, text;
  int64_t number = 0;
  double renewed_s = 0;
};

std::optional<Found> read_lock(const std::string& file, int64_t number) {
  struct stat status;
  try {
    if (::stat(file.c_str(), &status) != 0) return std::nullopt;
    return Found{file, read_text(file), number, modified_s(status)};
  } catch (const Error&) {
    return std::nullopt;  // released meanwhile
  }
}

// The locks of a place in the order of their numbers, the newest last.
std::vector<Found> locks_of(const std::string& place) {
  const fs::path at(place);
  const auto folder = at.parent_path().empty() ? fs::path(".") : at.parent_path();

  // "<place>.<number>"; other files of this name have a text behind the dot.
  const auto begin = at.filename().string() + ".";

  std::vector<Found> found;
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const auto name = entry->path().filename().string();
    if (!name.starts_with(begin)) continue;
    int64_t number = 0;
    const char* last = name.data() + name.size();
    const auto [stop, code] = std::from_chars(name.data() + begin.size(), last, number);
    if (code != std::errc() || stop != last) continue;
    if (auto lock = read_lock(fmt::format("{}.{}", place, number), number))
      found.push_back(std::move(*lock));
  }

  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.number < b.number; });
  return found;
}

enum class HolderState { kAlive, kGone, kUnknown };

// silence_s: since the lock was renewed; timeout_s: when its holder counts as gone.
HolderState state_of(const LockHolder& holder, const LockHolder& own, double silence_s,
                     double timeout_s) {
  // A process number means something only in its own namespace.
  const auto alive = holder.pid_namespace == own.pid_namespace ? is_alive(holder.by) : std::nullopt;
  if (alive) return *alive ? HolderState::kAlive : HolderState::kGone;

  // Slurm starts a requeued job only after its earlier start has ended, whatever host it was on.
  const bool earlier_start = !own.slurm_job.empty() && own.slurm_job == holder.slurm_job &&
                             own.slurm_restart > holder.slurm_restart;
  return earlier_start || silence_s >= timeout_s ? HolderState::kGone : HolderState::kUnknown;
}

std::string holder_text(const LockHolder& holder) {
  if (holder.by.host.empty()) return "an unknown process";
  return fmt::format(
      "process {} on {}{}, since {:%Y-%m-%d %H:%M:%S} UTC", holder.by.pid, holder.by.host,
      holder.slurm_job.empty() ? "" : fmt::format(" (Slurm job {})", holder.slurm_job),
      fmt::gmtime(static_cast<std::time_t>(holder.time)));
}

void wait_s(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

}  // namespace

double FolderLock::default_silent_s() {
  const double value = std::atof(environment("DISSENT_LOCK_TIMEOUT_S").c_str());
  return value > 0 ? value : 60;
}

FolderLock::FolderLock(std::string place, std::string what, std::string other, Options options)
    : place_(std::move(place)),
      what_(std::move(what)),
      other_(std::move(other)),
      options_(std::move(options)),
      own_(this_holder()),
      text_(text_of(own_)) {
  acquire();
  thread_ = std::thread([this] { renew(); });
}

FolderLock::~FolderLock() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();

  // Only a lock that is still this one: another process may have taken it over.
  const auto mine = read_lock(file_, number_);
  if (mine && mine->text == text_) ::unlink(file_.c_str());
}

namespace {

// The current time of the file system's clock: the modification time of a file created now.
double file_system_now_s(const std::string& probe, const std::string& text) {
  atomic_write_text(probe, text);
  struct stat status;
  const double now = ::stat(probe.c_str(), &status) == 0 ? modified_s(status) : now_s();
  ::unlink(probe.c_str());
  return now;
}

void delete_stale(const Found& lock) {
  // Read again: another process may have deleted it and created its own under this name.
  const auto now = read_lock(lock.file, lock.number);
  if (now && now->text == lock.text) ::unlink(lock.file.c_str());
}

}  // namespace

// Creates the lock with the number behind the newest one, once all existing locks are stale.
void FolderLock::acquire() {
  const auto report = [&](const std::string& message) {
    if (options_.say) options_.say(message);
  };
  std::optional<Found> watched;  // lock of another host, whose renewal would show that it is alive
  while (true) {
    // Ages are measured by the file system's clock, as the clocks of hosts may differ.
    const auto locks = locks_of(place_);
    const double now = file_system_now_s(fmt::format("{}.{}.tmp", place_, own_.nonce), text_);
    std::vector<std::string> stale;
    bool wait = false;
    for (const auto& lock : locks) {
      const auto holder = holder_of(lock.text);
      const double silence_s = now - lock.renewed_s;
      const bool is_watched = watched && watched->text == lock.text;
      const bool renewed = is_watched && lock.renewed_s > watched->renewed_s;
      const auto state =
          renewed ? HolderState::kAlive : state_of(holder, own_, silence_s, options_.silent_s);
      DISSENT_CHECK(state != HolderState::kAlive, kUsage,
                    "{}: expected that no other process writes to it, found {} ({}): wait for it, "
                    "stop it, or {}",
                    what_, holder_text(holder), lock.file, other_);

      if (state == HolderState::kGone) {
        stale.push_back(lock.text);
        continue;
      }

      // Nothing is known about a holder on another host: its lock is watched until it is renewed
      // (alive) or too old (gone).
      wait = true;
      if (is_watched) continue;
      report(fmt::format("{}: locked by {}; waiting up to {:.0f} s for a renewal", what_,
                         holder_text(holder), options_.silent_s - silence_s));
      watched = lock;
    }

    if (wait) {
      wait_s(std::min(0.5, options_.silent_s / 10));
    } else if (make(locks.empty() ? 1 : locks.back().number + 1, stale)) {
      for (const auto& lock : locks) {
        report(fmt::format("{}: the stale lock of {} is taken over", what_,
                           holder_text(holder_of(lock.text))));
        delete_stale(lock);
      }
      return;
    } else {
      // Several processes try at the same time: each waits for a different time, so that they do
      // not collide in the next round too.
      wait_s(0.01 * static_cast<double>(1 + own_.by.pid % 10));
    }
  }
}

// False if another process came first, or there is a lock that is not one of the stale ones.
bool FolderLock::make(int64_t number, const std::vector<std::string>& stale) {
  const auto file = fmt::format("{}.{}", place_, number);
  if (!create_once(file, text_)) return false;

  // A lock that was created meanwhile with another number wins, so that one of both remains.
  for (const auto& other : locks_of(place_)) {
    if (other.text == text_ || std::find(stale.begin(), stale.end(), other.text) != stale.end())
      continue;
    ::unlink(file.c_str());
    return false;
  }

  file_ = file;
  number_ = number;
  return true;
}

void FolderLock::renew() {
  // Signals are for the threads that look at them.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);

  const std::chrono::duration<double> interval(std::min(10.0, options_.silent_s / 6));

  // Waits on the condition variable, so that the destructor does not wait for the interval.
  std::unique_lock lock(mutex_);
  while (!over_) {
    changed_.wait_for(lock, interval);
    if (!over_) renew_once();
  }
}

void FolderLock::renew_once() {
  if (::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0) == 0 || errno != ENOENT) return;

  // The file was deleted. If there is no other lock, it was deleted by hand, and the result still
  // belongs to this process: the lock is created again.
  const auto locks = locks_of(place_);
  if (locks.empty()) {
    try {
      create_once(file_, text_);
    } catch (const Error& error) {
      std::fprintf(stderr, "dissent: %s\n", error.what());
    }
    return;
  }

  // Another process writes to the result now: continuing would mix both. No destructors run, as
  // they would still write.
  const auto message = fmt::format(
      "dissent: {}: the lock was taken over by {}, because this process had not renewed it for "
      "{:.0f} s (DISSENT_LOCK_TIMEOUT_S); exiting\n",
      what_, holder_text(holder_of(locks.back().text)), options_.silent_s);
  std::fputs(message.c_str(), stderr);
  std::fflush(stderr);
  std::_Exit(exit_code(ErrorKind::kComm));
}

}  // namespace dissent::jobs
