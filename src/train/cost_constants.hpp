#pragma once
#include <cstdint>

namespace dissent {

inline constexpr int64_t kFloatBytes = 4;
inline constexpr int64_t kCheckBytes = int64_t{16} << 20;  ///< read back at a time
                                                           ///< (storage/h5_data.cpp)
/// What HDF5 adds to a checkpoint, bytes, measured on eight of them: the file with its progress,
/// each parameter, each state of the optimiser.
inline constexpr int64_t kFileBytes = 10800, kParameterBytes = 310, kStateBytes = 670;

}  // namespace dissent
