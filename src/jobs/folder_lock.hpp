#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "jobs/process.hpp"

namespace dissent::jobs {

/// Who holds a FolderLock, as its file says.
struct LockHolder {
  ProcessName by;
  std::string processes;  ///< the kernel's name of the process numbers: containers have their own
  std::string slurm_job;  ///< "" outside of Slurm
  int64_t slurm_restart = 0;  ///< how often Slurm queued the job again before
  double time = 0;            ///< since when
  std::string nonce;          ///< no other lock has it
};

/// Keeps others from writing to a result while this process does: two trainings of one folder would
/// mix their checkpoints. A file <place>.<n> that link(2) makes once, so that one of several wins
/// on file systems that hosts share; it holds who made it, and a thread renews its time every few
/// seconds.
///
/// A lock that is there is left behind, and taken over, if
///   - its process was one of this host, and is gone (kill -9, a crash): at once
///   - it is of an earlier start of this process's own job of Slurm: at once
///   - it is of another host, and its time was not renewed for silent_s seconds. Until then this
///     call waits. Times are compared with that of a file just made, so clocks of hosts may differ
class FolderLock {
 public:
  struct Options {
    double silent_s = default_silent_s();
    std::function<void(const std::string& message)> say = {};  ///< told when it takes over or waits
  };
  /// DISSENT_LOCK_TIMEOUT_S, else 60.
  static double default_silent_s();

  /// place: of the lock's file, as results/x/seed-1/lock; its folder exists. what: what is kept
  /// from others, and other: what else to do, for messages ("give another cache.output").
  /// Error::kUsage if another process holds it: who, since when, and what to do.
  FolderLock(std::string place, std::string what, std::string other, Options options);
  FolderLock(std::string place, std::string what, std::string other)
      : FolderLock(std::move(place), std::move(what), std::move(other), Options()) {}
  /// Deletes the file. A process that was taken for dead and lives after all ends itself, with exit
  /// code 4, when it finds that another one has taken the lock.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// The file that this process made.
  const std::string& file() const { return file_; }

 private:
  void acquire();
  bool make(int64_t number, const std::vector<std::string>& left);
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
