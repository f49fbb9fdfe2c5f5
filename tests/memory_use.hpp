// How much memory this process holds, from /proc/self.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>

#include "core/sanitizer.hpp"

namespace dissent::testing {

/// Whether figures of memory and time are those of the program: the address sanitizer keeps what is
/// freed, to find later uses, and takes several times as long.
#ifdef DISSENT_SANITIZED
inline constexpr bool kMeasures = false;
#else
inline constexpr bool kMeasures = true;
#endif

/// A field of /proc/self/status in bytes: "VmRSS:" (resident now), "VmHWM:" (most resident since
/// reset_peak_memory).
inline int64_t status_bytes(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field)) return std::stoll(line.substr(field.size())) * 1024;
  return -1;
}

/// Sets VmHWM to the present VmRSS.
inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

/// Sum of the proportional set sizes of anonymous and shared memory: a page that n processes map
/// counts 1/n in each. Pages of files are left out, which the kernel drops when it likes.
inline int64_t proportional_bytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  int64_t sum = 0;
  for (std::string line; std::getline(file, line);)
    for (const std::string field : {"Pss_Anon:", "Pss_Shmem:"})
      if (line.starts_with(field)) sum += std::stoll(line.substr(field.size())) * 1024;
  return sum;
}

}  // namespace dissent::testing
