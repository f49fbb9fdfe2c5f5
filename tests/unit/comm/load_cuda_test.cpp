// When LibTorch's CUDA library can be loaded: before LibTorch has asked for CUDA, which computing
// on the CPU does too. Each case is a process of its own. No GPU is needed.
#include <gtest/gtest.h>
#include <dissent/error.hpp>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "comm/nccl.hpp"

using namespace dissent;

namespace {

void convolution() { at::conv2d(at::ones({1, 3, 8, 8}), at::ones({4, 3, 3, 3})); }
void batch_norm() { at::batch_norm(at::ones({2, 3, 8, 8}), {}, {}, {}, {}, true, 0.1, 1e-5, true); }
void backward() {
  const auto x = at::ones({3}).requires_grad_();
  torch::autograd::grad({x.square().sum()}, {x});
}
void seed() { at::manual_seed(1); }

// Ends the process: 0 if the library was loaded, 1 if it was too late, each with its word on
// stderr.
[[noreturn]] void load_and_end() {
  try {
    load_cuda();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(error.kind() == ErrorKind::kInternal ? 1 : 2);
  }
  std::fprintf(stderr, "loaded\n");
  std::_Exit(0);
}

class LoadCudaDeathTest : public ::testing::Test {
 protected:
  // A process that starts anew, not a copy of this one.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(LoadCudaDeathTest, TooLateIsAnErrorThatSaysWhatToDo) {
  for (void (*work)() : {convolution, batch_norm, backward, seed})
    EXPECT_EXIT((work(), load_and_end()), ::testing::ExitedWithCode(1),
                "expected to load it before LibTorch first checks.*prepare_device");
}

TEST_F(LoadCudaDeathTest, InTimeItIsLoadedAndStaysSo) {
  EXPECT_EXIT(load_and_end(), ::testing::ExitedWithCode(0), "loaded");
  // What a pack does: the library first, then jobs on the CPU, then one that chooses a GPU.
  EXPECT_EXIT((load_cuda(), convolution(), batch_norm(), backward(), seed(), load_and_end()),
              ::testing::ExitedWithCode(0), "loaded");
}

}  // namespace
