#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace dissent {

/// The tightest memory limit among the control groups that this process is in (a batch system's
/// job, a container).
struct MemoryLimit {
  std::string place;  ///< folder of the group: "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7"
  int64_t limit_bytes = 0;
  int64_t left_bytes =
      0;  ///< limit - usage + page cache of files, which the kernel gives back before it kills
};

/// Looks at the group of this process and at all above it, cgroup v1 (memory.limit_in_bytes) and v2
/// (memory.max), and gives that which leaves least; nothing where no group has a limit or none can
/// be read. Never throws. Not collective.
/// root  stands before /proc and /sys: for tests
std::optional<MemoryLimit> memory_limit(const std::string& root = "");

/// Cores' worth of time that the groups allow (cpu.max, cpu.cfs_quota_us): 2.5; nothing where there
/// is no quota.
std::optional<double> cpu_quota(const std::string& root = "");

}  // namespace dissent
