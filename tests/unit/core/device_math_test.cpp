// What is set is read back from LibTorch, through its functions of both ages: those of products on
// a GPU throw where they disagree.
#include "core/device_math.hpp"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "expect_error.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

constexpr const char* kWorkspace = "CUBLAS_WORKSPACE_CONFIG";

class DeviceMathTest : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv(kWorkspace); }
  void TearDown() override {
    unsetenv(kWorkspace);
    set_device_math({});
  }
};

bool tf32(at::Float32Op op) {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, op) ==
         at::Float32Precision::TF32;
}

TEST_F(DeviceMathTest, F32IsIeeeForProductsAndConvolutionsUnlessTf32IsAsked) {
  const auto& context = at::globalContext();
  for (const bool asked : {true, false, true}) {  // none is left to the next
    set_device_math(device_math(asked ? "tf32" : "f32", false));
    EXPECT_EQ(context.allowTF32CuBLAS(), asked);
    EXPECT_EQ(context.allowTF32CuDNN(), asked);
    EXPECT_EQ(context.allowTF32CuDNN(at::Float32Op::CONV), asked);
    for (const auto op : {at::Float32Op::MATMUL, at::Float32Op::CONV, at::Float32Op::RNN})
      EXPECT_EQ(tf32(op), asked);
  }
  for (const char* precision : {"f32", "bf16", "f16", "f64"})
    EXPECT_FALSE(device_math(precision, false).tf32);
}

TEST_F(DeviceMathTest, CpuProductsAreLeftAlone) {
  const auto mkldnn = [](at::Float32Op op) {
    return at::globalContext().float32Precision(at::Float32Backend::MKLDNN, op);
  };
  const auto before = std::pair(mkldnn(at::Float32Op::MATMUL), mkldnn(at::Float32Op::CONV));
  set_device_math({.tf32 = true});
  EXPECT_EQ(std::pair(mkldnn(at::Float32Op::MATMUL), mkldnn(at::Float32Op::CONV)), before);
}

TEST_F(DeviceMathTest, DeterministicIsSetAndTakenBack) {
  const auto& context = at::globalContext();
  set_device_math({.deterministic = true});
  EXPECT_TRUE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.deterministicAlgorithmsWarnOnly());
  EXPECT_TRUE(context.deterministicCuDNN());
  EXPECT_FALSE(context.benchmarkCuDNN());
  EXPECT_FALSE(context.deterministicFillUninitializedMemory());
  EXPECT_STREQ(std::getenv(kWorkspace), ":4096:8");
  set_device_math({});
  EXPECT_FALSE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.deterministicCuDNN());
  EXPECT_FALSE(context.benchmarkCuDNN());
  EXPECT_TRUE(context.deterministicFillUninitializedMemory());
}

TEST_F(DeviceMathTest, WorkspaceOfTheUserIsKeptOrRefused) {
  setenv(kWorkspace, ":16:8", 1);
  set_device_math({.deterministic = true});
  EXPECT_STREQ(std::getenv(kWorkspace), ":16:8");
  setenv(kWorkspace, ":0:0", 1);
  set_device_math({});
  EXPECT_STREQ(std::getenv(kWorkspace), ":0:0");
  expect_error(ErrorKind::kUsage,
               "expected CUBLAS_WORKSPACE_CONFIG unset, \":4096:8\" or \":16:8\", found \":0:0\"",
               [] { set_device_math({.deterministic = true}); });
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
}

}  // namespace
