#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace dissent {

/// A dotted TOML key, "a.b.c", with more parts than any of our tables has. TOML parsers make a
/// table of each part and traverse and delete them recursively: tens of thousands overflow the
/// stack.
struct LongKey {
  int64_t line = 0;    ///< from 1, of its first part
  int64_t column = 0;  ///< from 1, in bytes
  int64_t parts = 0;
};
inline constexpr int64_t kMostKeyParts = 16;

/// The first key with more than kMostKeyParts parts, bare or quoted; called before a text is
/// parsed. Inside a multi-line string, a word with that many dots counts too.
std::optional<LongKey> long_key(std::string_view text);

}  // namespace dissent
