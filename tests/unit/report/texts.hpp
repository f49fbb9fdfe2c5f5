#pragma once
#include <gtest/gtest.h>

#include <dissent/error.hpp>

#include <string>

// Without the headers of torch, which storage_helpers.hpp brings: tests of src/report compile in
// seconds.
namespace dissent::testing {

#define EXPECT_CONTAINS(text, part)                          \
  EXPECT_NE(std::string(text).find(part), std::string::npos) \
      << "'" << (part) << "' is not in: " << (text)

/// The message of the error of this kind that f throws.
template <class F>
std::string error_of(ErrorKind kind, F f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace dissent::testing
