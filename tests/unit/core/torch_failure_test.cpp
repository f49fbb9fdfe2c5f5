// What is made of LibTorch's errors: never their own text alone.
#include "core/torch_failure.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace dissent {
namespace {

Failure torch_failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    return current_failure();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorKind::kInternal, ""};
}

void expect_texts(const std::string& message, const std::vector<std::string>& texts) {
  for (const auto& text : texts)
    EXPECT_NE(message.find(text), std::string::npos) << text << " in:\n" << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(TorchFailure, MemoryOfTheHost) {
  const auto failure = torch_failure_of([] { at::empty({int64_t{1} << 57}, at::kFloat); });
  EXPECT_EQ(failure.kind, ErrorKind::kMemory);
  expect_texts(failure.message, {"memory of the host: expected 576.5 PB more, found ", " free",
                                 "data.batch_size", "(LibTorch: "});
}

TEST(TorchFailure, SizesOfMoreThanSixtyFourBitsAreMemory) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (const auto& sizes : {std::vector<int64_t>{most, 2768}, {most / 2, 4, 1}}) {
    const auto failure = torch_failure_of([&] { at::empty(sizes, at::kFloat); });
    EXPECT_EQ(failure.kind, ErrorKind::kMemory);
    expect_texts(failure.message, {"memory of the host: expected 18.4 EB more, found "});
  }
}

TEST(TorchFailure, MemoryOfAGpu) {
  const auto failure = torch_failure_of([] {
    TORCH_CHECK_WITH(OutOfMemoryError, false,
                     "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 1 has a total capacity "
                     "of 79.14 GiB of which 5.94 GiB is free. Including non-PyTorch memory ...");
  });
  EXPECT_EQ(failure.kind, ErrorKind::kMemory);
  expect_texts(failure.message,
               {"memory of GPU 1: expected 20.00 GiB more, found 5.94 GiB free of 79.14 GiB; ",
                "(LibTorch: CUDA out of memory. Tried"});
}

TEST(TorchFailure, DevicesAndDefects) {
  auto failure = torch_failure_of(
      [] { TORCH_CHECK(false, "CUDA error: an illegal memory access was encountered\nadvice"); });
  EXPECT_EQ(failure.kind, ErrorKind::kComm);
  expect_texts(failure.message, {"GPU operation failed: CUDA error"});
  failure = torch_failure_of([] { at::zeros({2}) + at::zeros({3}); });
  EXPECT_EQ(failure.kind, ErrorKind::kInternal);
  expect_texts(failure.message, {"a defect of the program: a call of LibTorch failed: The size",
                                 "; please report it"});
  failure = torch_failure_of([] { DISSENT_FAIL(kUsage, "a key: expected 1, found 2"); });
  EXPECT_EQ(failure.kind, ErrorKind::kUsage);
  EXPECT_EQ(failure.message, "a key: expected 1, found 2");
}

}  // namespace
}  // namespace dissent
