#pragma once
#include <fmt/format.h>

#include <exception>
#include <string>

namespace dissent {

/// The kind of an error. Its value is the exit code of the program.
enum class ErrorKind {
  kInternal = 1,  ///< a defect of this program
  kUsage = 2,     ///< wrong command line, configuration or argument (shape, dtype, device)
  kData = 3,      ///< bad or missing data, full disk
  kComm = 4,      ///< communication or device failure, timeout
  kCheck = 5,     ///< a check failed (`verify`)
  kMemory = 6,    ///< not enough memory, on the host or on a GPU
};

/// The exit code for an error of this kind.
constexpr int exit_code(ErrorKind kind) { return static_cast<int>(kind); }

/// The exception type of the project. what() is a message for users: name, place, expected, found.
/// Lines of more than 4,000 bytes (a value or a path of megabytes) are shortened in the middle.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, const char* file, int line);
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const { return kind_; }
  /// Source file and line that raised it (for defect reports, shown with --verbose).
  std::string where() const;
  /// True if every rank of the job raises the same error at the same point: only rank 0 prints it,
  /// and all ranks finalise together. False: the raising rank prints it and aborts the job.
  bool agreed() const { return agreed_; }
  void set_agreed() { agreed_ = true; }

 private:
  ErrorKind kind_;
  std::string message_;
  const char* file_;
  int line_;
  bool agreed_ = false;
};

}  // namespace dissent

/// Throws dissent::Error of the given kind: DISSENT_FAIL(kData, "{}: expected {} rows, found {}",
/// path, expected, found)
#define DISSENT_FAIL(kind, ...) \
  throw ::dissent::Error(::dissent::ErrorKind::kind, ::fmt::format(__VA_ARGS__), __FILE__, __LINE__)

/// Throws unless the condition holds; the message says what was expected and what was found.
#define DISSENT_CHECK(cond, kind, ...)            \
  do {                                            \
    if (!(cond)) DISSENT_FAIL(kind, __VA_ARGS__); \
  } while (false)
