#include "storage/cache_checksum.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <xxhash.h>
#include <dissent/error.hpp>

namespace dissent {

std::vector<int64_t> block_hashes(const at::Tensor& embed, const at::Tensor& label,
                                  const at::Tensor& index) {
  const int64_t rows = embed.size(0), row_bytes = embed.size(1) * embed.element_size();
  const auto* embed_bytes = static_cast<const char*>(embed.const_data_ptr());
  const auto* labels = label.const_data_ptr<int32_t>();
  const auto* positions = index.const_data_ptr<int64_t>();

  // A block is the least part that one rank writes, so the hashes do not depend on the number of
  // ranks.
  std::vector<int64_t> blocks;
  for (int64_t row = 0; row < rows; row += kHashBlockRows) {
    const int64_t count = std::min(kHashBlockRows, rows - row);
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, embed_bytes + row * row_bytes, count * row_bytes);
    XXH3_64bits_update(&state, labels + row, count * sizeof(int32_t));
    XXH3_64bits_update(&state, positions + row, count * sizeof(int64_t));
    blocks.push_back(static_cast<int64_t>(XXH3_64bits_digest(&state)));
  }
  return blocks;
}

std::string shard_checksum(std::span<const int64_t> blocks) {
  return fmt::format("xxh3:{:016x}",
                     static_cast<uint64_t>(XXH3_64bits(blocks.data(), blocks.size_bytes())));
}

}  // namespace dissent
