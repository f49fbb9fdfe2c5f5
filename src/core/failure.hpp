#pragma once
#include <dissent/error.hpp>

#include <cstdint>
#include <string>

namespace dissent {

/// How the program reports an exception: kind (for the exit code) and message.
struct Failure {
  ErrorKind kind;
  std::string message;
  bool agreed = false;  ///< Error::agreed()
};

/// The failure for the exception being handled; call it in a catch block. An Error is taken
/// unchanged; std::bad_alloc becomes kMemory with the bytes requested and free; an error of the
/// file system kData; a thread that cannot be started kMemory; any other exception kInternal.
/// Messages of kInternal say that it is a defect and ask for a report. With LibTorch:
/// current_failure of torch_failure.hpp.
Failure current_light_failure();

/// Message of kMemory: "memory of the host: expected 80.0 GB more, found 12.3 GB free (...); " and
/// which settings need less.
/// asked  bytes; 0: not known
/// cause  the library's message, added in brackets; may be empty
std::string host_memory_message(uint64_t asked, const std::string& cause = "");

/// "a defect of the program: MESSAGE (PLACE); please report it ..."; unchanged if it is one
/// already.
std::string defect_message(const std::string& message, const std::string& place = "");

/// The first line of a text; libraries append stack traces.
std::string first_line(const std::string& text);

/// Makes an uncaught exception (in a thread or a destructor) end the process with its message and
/// exit code instead of SIGABRT.
/// current  current_light_failure, or current_failure of torch_failure.hpp
void report_uncaught(Failure (*current)());

}  // namespace dissent
