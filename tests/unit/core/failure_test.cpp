// What the program says of exceptions, and how long a message can be.
#include "core/failure.hpp"
#include "core/sanitizer.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace dissent {
namespace {

Failure failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    return current_light_failure();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorKind::kInternal, ""};
}

void expect_texts(const std::string& message, const std::vector<std::string>& texts) {
  for (const auto& text : texts)
    EXPECT_NE(message.find(text), std::string::npos) << text << " in:\n" << message;
}

TEST(Failure, MemoryThatIsNotThereIsAnErrorOfItsOwnWithNumbers) {
#ifdef DISSENT_SANITIZED  // whose own operator new ends the program
  const auto failure = failure_of([] { throw std::bad_alloc(); });
  expect_texts(failure.message, {"memory of the host: expected enough, found ", " free"});
#else
  volatile size_t bytes = size_t{1} << 60;
  const auto failure = failure_of([&] { ::operator delete(::operator new(bytes)); });
  expect_texts(failure.message, {"memory of the host: expected 1.2 EB more, found ", " free",
                                 "data.batch_size", "`dissent plan`"});
  // The number belongs to this failure alone.
  expect_texts(failure_of([] { throw std::bad_alloc(); }).message, {"expected enough"});
#endif
  EXPECT_EQ(failure.kind, ErrorKind::kMemory);
  EXPECT_EQ(exit_code(failure.kind), 6);
}

TEST(Failure, KindsOfOtherExceptions) {
  namespace fs = std::filesystem;
  auto failure = failure_of([] { fs::create_directory("/proc/no/such/folder"); });
  EXPECT_EQ(failure.kind, ErrorKind::kData);
  expect_texts(failure.message, {"/proc/no/such/folder: expected ", "found: No such file"});
  failure = failure_of([] {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  });
  EXPECT_EQ(failure.kind, ErrorKind::kMemory);
  expect_texts(failure.message, {"cannot create a thread: ", "ulimit -u"});
  failure = failure_of([] { DISSENT_FAIL(kData, "a.csv: expected 3 columns, found 2"); });
  EXPECT_EQ(failure.kind, ErrorKind::kData);
  EXPECT_EQ(failure.message, "a.csv: expected 3 columns, found 2");
}

TEST(Failure, ADefectSaysSoOnceAndAsksForAReport) {
  auto failure = failure_of([] { throw std::out_of_range("map::at\nframe #1"); });
  EXPECT_EQ(exit_code(failure.kind), 1);
  EXPECT_EQ(failure.message,
            "a defect of the program: map::at; please report it with this text, the command and "
            "its configuration");
  failure = failure_of([] { DISSENT_FAIL(kInternal, "no column 'x' was computed"); });
  expect_texts(failure.message, {"a defect of the program: no column 'x' was computed (",
                                 "failure_test.cpp:", "; please report it"});
  const auto again =
      failure_of([&] { throw Error(ErrorKind::kInternal, failure.message, __FILE__, __LINE__); });
  EXPECT_EQ(again.message, failure.message);
}

TEST(Failure, WhatNothingCatchesEndsWithItsMessageAndCode) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        report_uncaught(current_light_failure);
        std::thread([] { DISSENT_FAIL(kData, "a.png: expected an image, found none"); }).join();
      },
      ::testing::ExitedWithCode(3), "dissent: a.png: expected an image, found none");
}

TEST(Error, ALineOfMegabytesLosesItsMiddle) {
  const auto message_of = [](const std::string& text) {
    return std::string(Error(ErrorKind::kUsage, text, "f", 1).what());
  };
  const std::string value(5'000'000, 'x'),
      start = "a.toml:1:1: data.root: expected a folder, found ";
  const auto message = message_of("one\n" + start + value + "; to do\nthree");
  EXPECT_LT(message.size(), 4000);
  expect_texts(message,
               {"one\n" + start + "xxx", "xxx; to do\nthree", " of 5000055 bytes left out) ..."});
  const std::string short_lines = std::string(3999, 'y') + "\n" + std::string(3999, 'z') + "\n";
  EXPECT_EQ(message_of(short_lines), short_lines);
  // Never inside a character of UTF-8.
  std::string umlauts;
  for (int i = 0; i < 4000; ++i) umlauts += "\xc3\xa4";
  for (const std::string& text : {umlauts, "x" + umlauts}) {
    auto cut = message_of(text);
    const auto at = cut.find(" ... ");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(static_cast<unsigned char>(cut[at - 1]), 0xa4);
    EXPECT_EQ(static_cast<unsigned char>(cut[cut.rfind(" ... ") + 5]), 0xc3);
  }
}

}  // namespace
}  // namespace dissent
