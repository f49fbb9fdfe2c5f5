#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/process.hpp"

namespace dissent::jobs {

/// The holder of a FolderLock, as recorded in its file.
struct LockHolder {
  ProcessId by;
  std::string pid_namespace;  ///< the kernel's name of it: containers have their own
  std::string slurm_job;      ///< "" outside of Slurm
  int64_t slurm_restart = 0;  ///< how often Slurm had requeued the job
  double time = 0;            ///< when it was acquired
  std::string nonce;          ///< unique
};

/// Excludes other processes from writing to a result: two trainings in one folder would mix their
/// checkpoints. The lock is a file <place>.<n> that is created by link(2), so that exactly one of
/// several processes wins on a shared file system. It names its holder, and a thread renews its
/// modification time every few seconds.
///
/// An existing lock is stale, and taken over, if
///   - its process ran on this host and no longer exists (kill -9, a crash): at once
///   - it belongs to an earlier start of this process's own Slurm job: at once
///   - its process is on another host and has not renewed it for silent_s seconds. Until then the
///     constructor waits. Times are compared with that of a file just created, so clocks of hosts
///     may differ
class FolderLock {
 public:
  struct Options {
    double silent_s = default_silent_s();
    std::function<void(const std::string& message)> say = {};  ///< reports a wait or takeover
  };
  /// DISSENT_LOCK_TIMEOUT_S, default 60.
  static double default_silent_s();

  /// place: path of the lock file without its number, as results/x/seed-1/lock; its folder exists.
  /// what: the protected result, and other: an alternative for the user, for messages ("give
  /// another cache.output"). Error::kUsage if another process holds the lock: which, since when,
  /// and what to do.
  FolderLock(std::string place, std::string what, std::string other, Options options);
  FolderLock(std::string place, std::string what, std::string other)
      : FolderLock(std::move(place), std::move(what), std::move(other), Options()) {}
  /// Deletes the file. A process whose lock was taken over although it lives ends itself with exit
  /// code 4 when it notices.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// The file that this process created.
  const std::string& file() const { return file_; }

 private:
  void acquire();
  bool make(int64_t number, const std::vector<std::string>& stale);
  void renew_once();
  void renew();

  std::string place_, what_, other_;
  Options options_;
  LockHolder own_;
  std::string text_, file_;
  int64_t number_ = 0;
  bool over_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace dissent::jobs
