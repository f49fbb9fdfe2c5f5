#include <dissent/error.hpp>

#include <algorithm>
#include <string_view>

namespace dissent {
namespace {

constexpr size_t kLongestLine = 4000, kKeptOfLine = 1800;

// The start of the UTF-8 character at this byte.
size_t character_at(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

// The important parts of a line are at its ends: the place at the start, expected, found and advice
// at the end.
std::string without_middle(std::string_view line) {
  if (line.size() <= kLongestLine) return std::string(line);
  const size_t first = character_at(line, kKeptOfLine),
               last = character_at(line, line.size() - kKeptOfLine);
  return fmt::format("{} ... ({} of {} bytes left out) ... {}", line.substr(0, first), last - first,
                     line.size(), line.substr(last));
}

std::string shortened(std::string message) {
  if (message.size() <= kLongestLine) return message;

  // Line by line, since each line of a message is an error of its own.
  std::string out;
  for (std::string_view rest = message; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
    const bool ends = rest[end - 1] == '\n';
    out += without_middle(rest.substr(0, end - (ends ? 1 : 0)));
    if (ends) out += '\n';
    rest.remove_prefix(end);
  }
  return out;
}

}  // namespace

Error::Error(ErrorKind kind, std::string message, const char* file, int line)
    : kind_(kind), message_(shortened(std::move(message))), file_(file), line_(line) {}

std::string Error::where() const {
  const std::string path = file_;
  const auto at = path.rfind("/src/");
  return fmt::format("{}:{}", at == std::string::npos ? path : path.substr(at + 1), line_);
}

}  // namespace dissent
