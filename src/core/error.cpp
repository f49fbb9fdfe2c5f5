#include <dissent/error.hpp>

namespace dissent {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage: return 2;
    case ErrorKind::kData: return 3;
    case ErrorKind::kComm: return 4;
    case ErrorKind::kCheck: return 5;
    case ErrorKind::kInternal: return 1;
  }
  return 1;
}

Error::Error(ErrorKind kind, std::string message, const char* file, int line)
    : kind_(kind), message_(std::move(message)), file_(file), line_(line) {}

std::string Error::where() const {
  const std::string path = file_;
  const auto at = path.rfind("/src/");
  return fmt::format("{}:{}", at == std::string::npos ? path : path.substr(at + 1), line_);
}

}  // namespace dissent
