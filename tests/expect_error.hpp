#pragma once
#include <gtest/gtest.h>

#include <dissent/error.hpp>

#include <string>

namespace dissent::testing {

/// Runs f and expects dissent::Error of the kind whose message holds the text.
template <class F>
void expect_error(ErrorKind kind, const std::string& text, F f) {
  try {
    f();
    ADD_FAILURE() << "no error; expected one with '" << text << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

}  // namespace dissent::testing
