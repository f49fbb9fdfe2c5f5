// The update of a stack on a GPU against the plain loop of the host.
#include <cstdint>

#include "gpu/gpu_main.hpp"
#include "update_cases.hpp"

#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "comm/nccl.hpp"

using namespace dissent;
using namespace dissent::testing;

// The device's compiler makes one rounding of a product and a sum: a few roundings of f32, of the
// largest element.
constexpr double kRounding = 16 * 1.2e-7;

// A thread's current device need not be that of its tensors: CUDA refuses a stream of another one.
TEST(GpuUpdateMembers, LaunchesOnTheDeviceOfItsTensors) {
  int devices = 0;
  DISSENT_CUDA(cudaGetDeviceCount(&devices));
  if (devices < 2) GTEST_SKIP() << "one GPU";
  const auto other = static_cast<c10::DeviceIndex>(1 - device());
  const auto before = c10::cuda::getCurrentCUDAStream(other);
  c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(false, other));
  const at::TensorOptions on(at::Device(at::kCUDA, other));
  const auto values = at::ones({2, 64}, on);
  kernels::UpdateOptions options;
  options.rule = kernels::UpdateRule::kPlain;
  EXPECT_NO_THROW(kernels::update_members(options, values, {}, {}, at::ones({2}, on),
                                          at::arange(2, on.dtype(at::kLong)), at::ones({2, 64}, on),
                                          at::ones({2}, on.dtype(at::kDouble)),
                                          at::ones({2}, on.dtype(at::kDouble))));
  int current = -1;
  DISSENT_CUDA(cudaGetDevice(&current));
  EXPECT_EQ(current, device());
  c10::cuda::setCurrentCUDAStream(before);
}

TEST(GpuUpdateMembers, GivesTheNumbersOfThePlainLoop) {
  const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(device()));
  for (const auto& [name, options] : update_rules())
    for (const int64_t size : {16, 1024, 2064}) {
      SCOPED_TRACE(fmt::format("{}, P = {}", name, size));
      const auto start = update_case(options, size);
      const auto host = start.copy(), there = start.copy(gpu);
      host.update(options);
      there.update(options);
      const auto expect_near = [&](const at::Tensor& found, const at::Tensor& expected,
                                   const at::Tensor& before) {
        if (!expected.defined()) return;
        const auto here = found.cpu();
        EXPECT_LT((here - expected).abs().max().item<double>(),
                  kRounding * expected.abs().max().item<double>());
        for (const int64_t row : {0, 1, 2, 4, 7})  // the ends, slots 0 (skipped), 1 and 3
          EXPECT_TRUE(at::equal(here[row], before[row])) << row;
      };
      expect_near(there.values_all, host.values_all, start.values_all);
      expect_near(there.first_all, host.first_all, start.first_all);
      expect_near(there.second_all, host.second_all, start.second_all);
    }
}
