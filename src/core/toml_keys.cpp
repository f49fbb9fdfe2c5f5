#include "core/toml_keys.hpp"

#include <algorithm>
#include <cctype>

namespace dissent {
namespace {

bool is_bare(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

// End of the key part that begins at `at`; `at` itself if none begins there.
size_t end_of_part(std::string_view text, size_t at) {
  // A backslash escapes a character in double quotes only. A quoted part ends on its line.
  if (text[at] == '"' || text[at] == '\'') {
    for (size_t end = at + 1; end < text.size() && text[end] != '\n'; ++end) {
      if (text[end] == '\\' && text[at] == '"')
        ++end;
      else if (text[end] == text[at])
        return end + 1;
    }
    return at;
  }
  size_t end = at;
  while (end < text.size() && is_bare(text[end])) ++end;
  return end;
}

size_t past_blanks(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  return at;
}

}  // namespace

std::optional<LongKey> long_key(std::string_view text) {
  int64_t line = 1;
  size_t line_begin = 0;

  // A scan, not a parser: it counts parts of everything that looks like a dotted key, and skips
  // comments.
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    int64_t parts = 0;
    for (size_t end; at < text.size() && (end = end_of_part(text, at)) > at;) {
      ++parts;
      at = past_blanks(text, end);
      if (at == text.size() || text[at] != '.') break;
      at = past_blanks(text, at + 1);
    }

    if (parts > kMostKeyParts)
      return LongKey{line, static_cast<int64_t>(begin - line_begin) + 1, parts};

    // No key begins here: skip a comment or one character.
    if (at == begin) {
      if (text[at] == '#') {
        at = std::min(text.find('\n', at), text.size());
        continue;
      }
      if (text[at] == '\n') ++line, line_begin = at + 1;
      ++at;
    }
  }
  return std::nullopt;
}

}  // namespace dissent
