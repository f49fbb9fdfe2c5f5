#pragma once
#include <cstdint>
#include <string>

namespace dissent {

/// What the program dissent-h5check (h5_check_main.cpp) may take for one file.
inline constexpr int kH5CheckSeconds = 3;  ///< of processor time
inline constexpr int64_t kH5CheckMemory = int64_t{4} << 30;

/// Has a small program of its own open an HDF5 file and walk through all that it holds: what
/// crashes HDF5, or keeps it busy without end, ends that process and not this one. Once in this
/// process for each state of a file (device, number, size, time). Error::kData: HDF5 crashed, did
/// not end within kH5CheckSeconds, wanted more than kH5CheckMemory, or cannot open it at all;
/// Error::kUsage: the program is not there. Any thread.
void check_h5_in_child(const std::string& path);

}  // namespace dissent
