// The update of a stack on a GPU against the plain loop of the host.
#include "gpu/gpu_main.hpp"
#include "update_cases.hpp"

#include <gtest/gtest.h>

using namespace dissent;
using namespace dissent::testing;

// The device's compiler makes one rounding of a product and a sum: a few roundings of f32, of the
// largest element.
constexpr double kRounding = 16 * 1.2e-7;

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
