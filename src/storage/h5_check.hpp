#pragma once
#include <cstdint>
#include <string>

namespace dissent {

/// Limits of the program dissent-h5check (h5_check_main.cpp) for one file.
inline constexpr int kH5CheckSeconds = 3;  ///< processor time
inline constexpr int64_t kH5CheckMemory = int64_t{4} << 30;

/// Opens an HDF5 file in a separate small process and traverses all its objects: a file that
/// crashes HDF5 or makes it loop forever ends that process and not this one. Done once per process
/// for each state of a file (device, inode, size, time). Error::kData: HDF5 crashed, did not finish
/// within kH5CheckSeconds, needed more than kH5CheckMemory, or cannot open the file; Error::kUsage:
/// the program does not exist. Thread-safe.
void check_h5_in_child(const std::string& path);

}  // namespace dissent
