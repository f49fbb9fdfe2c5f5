#include "storage/exit_record.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <dissent/error.hpp>

#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

void write(const std::string& path, const std::string& text) {
  try {
    atomic_write_text(path, text + "\n");
  } catch (const Error&) {  // a full disk must not end a run
  }
}

}  // namespace

ExitRecord::ExitRecord() {
  if (const char* path = std::getenv(kExitRecordVariable)) path_ = path;
  unsetenv(kExitRecordVariable);
}

void ExitRecord::begin() {
  if (path_.empty()) return;
  begun_ = true;
  write(path_, "running");
}

void ExitRecord::end(int code) {
  if (begun_) write(path_, fmt::format("{}", code));
}

std::optional<int> read_exit_record(const std::string& path) {
  // A text that is not a number ("running") leaves kNoExit: the program has not ended by itself.
  if (!path_exists(path)) return std::nullopt;
  try {
    const auto text = read_text(path);
    int code = kNoExit;
    std::from_chars(text.data(), text.data() + text.size(), code);
    return code;
  } catch (const Error&) {  // deleted meanwhile
    return std::nullopt;
  }
}

}  // namespace dissent
