#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace dissent {

/// Reads a file of numpy.save: u8, i32 or i64, little-endian, C order. Of the first dimension rows
/// [first, first + count) alone, all from `first` on where count is -1. returns [count, ...] of the
/// file's dtype, host.
/// Error::kData naming the file: missing, not .npy, another dtype or order, shorter or longer than
/// its header says, rows that it does not have.
at::Tensor read_npy(const std::string& path, int64_t first = 0, int64_t count = -1);

}  // namespace dissent
