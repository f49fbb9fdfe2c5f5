#pragma once
#include <cstdint>

namespace dissent {

inline constexpr int64_t kFloatBytes = 4;
inline constexpr int64_t kCheckBytes = int64_t{16} << 20;  ///< read back at a time
                                                           ///< (storage/h5_data.cpp)
/// What HDF5 and the seal add to a checkpoint, bytes, measured on six: the file with its progress,
/// each parameter, each state of the optimiser.
inline constexpr int64_t kFileBytes = 6750, kParameterBytes = 362, kStateBytes = 770;

}  // namespace dissent
