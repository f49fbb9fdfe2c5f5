#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace dissent {

/// The tightest memory limit among the control groups of this process (a batch job, a container).
struct MemoryLimit {
  std::string place;  ///< folder of the group: "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7"
  int64_t limit_bytes = 0;
  /// limit - usage + page cache of files, which the kernel reclaims before it kills a process
  int64_t left_bytes = 0;
};

/// Reads the limits of this process's control group and all its parents, cgroup v1
/// (memory.limit_in_bytes) and v2 (memory.max), and returns the one that leaves least; empty if no
/// group has a limit or none can be read. Never throws. Not collective.
/// root  prefix of /proc and /sys, for tests
std::optional<MemoryLimit> memory_limit(const std::string& root = "");

/// Number of cores that the control groups allow (cpu.max, cpu.cfs_quota_us), for example 2.5;
/// empty without a quota.
std::optional<double> cpu_quota(const std::string& root = "");

}  // namespace dissent
