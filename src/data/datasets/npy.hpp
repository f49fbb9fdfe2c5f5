#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace dissent {

/// Reads a file written by numpy.save: u8, i32 or i64, little-endian, C order. Only rows [first,
/// first + count) of the first dimension; count -1: all rows from `first`. Returns [count, ...] in
/// the file's dtype, host.
/// Error::kData with the file: missing, not .npy, another dtype or order, shorter or longer than
/// its header says, rows that it does not have.
at::Tensor read_npy(const std::string& path, int64_t first = 0, int64_t count = -1);

}  // namespace dissent
