#pragma once
#include <dissent/error.hpp>

#include <cstdint>
#include <string>

namespace dissent {

/// What the program says of an exception, and what it ends with.
struct Failure {
  ErrorKind kind;
  std::string message;
  bool agreed = false;  ///< Error::agreed()
};

/// Of the exception that is being handled: call it in a catch block. An Error as it is;
/// std::bad_alloc as kMemory with the bytes that were asked for and that are left; an error of the
/// file system as kData; a thread that cannot be started as kMemory; any other as kInternal. A
/// message of kInternal says that it is a defect and asks for a report. With LibTorch:
/// current_failure of torch_failure.hpp.
Failure current_light_failure();

/// The text of kMemory: "memory of the host: expected 80.0 GB, found 12.3 GB free (...); " and what
/// needs less.
/// asked  bytes; 0: not known
/// cause  what the library said, in brackets at the end; may be empty
std::string host_memory_message(uint64_t asked, const std::string& cause = "");

/// "a defect of the program: MESSAGE (PLACE); please report it ..."; unchanged where it says so
/// already.
std::string defect_message(const std::string& message, const std::string& place = "");

/// The first line of a text: what libraries add is a list of their calls.
std::string first_line(const std::string& text);

/// An exception that nothing catches (of a thread, of a destructor) ends the process with its
/// message and exit code instead of SIGABRT.
/// current  what says so in the program: current_light_failure or that of torch_failure.hpp
void report_uncaught(Failure (*current)());

}  // namespace dissent
