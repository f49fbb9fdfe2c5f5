#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dissent {

/// Rows of a hash block. A rank's part of a shard starts at a multiple of it, so checksums do not
/// depend on the number of ranks.
inline constexpr int64_t kHashBlockRows = 256;

/// XXH3_64 of each block of 256 rows: the block's bytes of embed, then of label, then of index, as
/// stored in the file. embed [n, D] in the file's dtype, label i32 [n], index i64 [n]; contiguous,
/// host; row 0 is the first row of a block.
std::vector<int64_t> block_hashes(const at::Tensor& embed, const at::Tensor& label,
                                  const at::Tensor& index);
/// Checksum of a shard: XXH3_64 over its block hashes (8 bytes each, little-endian) in row order;
/// "xxh3:" and 16 hex digits.
std::string shard_checksum(std::span<const int64_t> blocks);

}  // namespace dissent
