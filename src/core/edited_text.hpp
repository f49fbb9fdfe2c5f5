#pragma once
#include <string>

namespace dissent {

/// Normalises text that people edit. Every reader of such files uses it, so all accept the same
/// encodings: a UTF-8 byte order mark is removed, and line ends CRLF, LF and (in a text without any
/// LF) CR become LF. Error::kData with `path`: UTF-16 or UTF-32, or a zero byte.
std::string edited_text(std::string bytes, const std::string& path);

/// Logs a warning once per process: sets are opened by the checks and again for the work.
void warn_once(const std::string& line);

}  // namespace dissent
