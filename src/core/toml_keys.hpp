#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace dissent {

/// A dotted TOML key, "a.b.c", of more parts than any table of ours is deep. Readers of TOML make
/// a table of each part, and walk and delete them by recursion: tens of thousands end the stack.
struct LongKey {
  int64_t line = 0;    ///< from 1, of its first part
  int64_t column = 0;  ///< from 1, in bytes
  int64_t parts = 0;
};
inline constexpr int64_t kMostKeyParts = 16;

/// The first key of more than kMostKeyParts parts, bare or quoted, wherever one may stand; asked
/// before a text is parsed. Inside of a text of several lines a word with so many points in it
/// counts too.
std::optional<LongKey> long_key(std::string_view text);

}  // namespace dissent
