#pragma once
#include <string>

namespace dissent {

/// What every reader of text that people edit makes of a file's bytes, so that all accept the same
/// ones: the UTF-8 mark that editors put first is dropped, and lines end with LF whether they were
/// ended by CRLF, LF or (in a text without any LF) CR.
/// Error::kData naming `path`: UTF-16 or UTF-32, or a zero byte.
std::string edited_text(std::string bytes, const std::string& path);

/// Logs a warning, but only once: a set is opened by the checks and again by what was checked.
void warn_once(const std::string& line);

}  // namespace dissent
