#include "core/edited_text.hpp"

#include <spdlog/spdlog.h>
#include <dissent/error.hpp>

#include <mutex>
#include <set>
#include <string_view>

namespace dissent {
namespace {

constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";

// Converts CRLF to LF in place; also a single CR if there is no LF at all (old spreadsheets).
void end_lines_with_lf(std::string& text) {
  if (text.find('\r') == std::string::npos) return;
  const bool alone = text.find('\n') == std::string::npos;

  size_t kept = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    text[kept++] = alone && text[i] == '\r' ? '\n' : text[i];
  }
  text.resize(kept);
}

}  // namespace

std::string edited_text(std::string bytes, const std::string& path) {
  DISSENT_CHECK(!bytes.starts_with("\xFF\xFE") && !bytes.starts_with("\xFE\xFF"), kData,
                "{}: expected text in UTF-8, found the mark of UTF-16 or UTF-32; save it as UTF-8",
                path);

  // UTF-16 without a mark, or a binary file: later errors about single lines would be hard to
  // understand.
  const size_t zero = bytes.find('\0');
  DISSENT_CHECK(zero == std::string::npos, kData,
                "{}: expected text in UTF-8, found a zero byte at byte {}: the file is "
                "UTF-16 or binary; save it as UTF-8",
                path, zero);

  if (bytes.starts_with(kUtf8Mark)) bytes.erase(0, kUtf8Mark.size());
  end_lines_with_lf(bytes);
  return bytes;
}

void warn_once(const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> logged;
  const std::lock_guard lock(mutex);
  if (logged.insert(line).second) spdlog::warn("{}", line);
}

}  // namespace dissent
