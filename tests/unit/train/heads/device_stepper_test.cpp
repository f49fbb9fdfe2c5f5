#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train_run.hpp"

using namespace dissent;
using namespace dissent::testing;

// 130 AdamW steps of f32: each product and sum may be rounded otherwise, and Adam's quotient of two
// small numbers magnifies it. Measured: up to 5.5e-6 of the largest weight.
constexpr double kTolerance = 3e-5;

TEST(DeviceStepper, GivesTheNumbersOfTheHost) {
  auto self = make_self_communicator();
  Grid grid(*self, {});
  for (const auto& [name, run] : small_runs()) {
    SCOPED_TRACE(name);
    const auto host = train_small(run, grid, at::kCPU, std::nullopt);
    expect_close(host, train_small(run, grid, at::kCPU, DeviceStepperOptions{}), kTolerance);
    expect_close(host, train_small(run, grid, at::kCPU, DeviceStepperOptions{}, 1), kTolerance);
  }
}

// bf16 has 8 bits of mantissa: losses agree to about 2^-8 of their size at first and drift apart
// slowly.
TEST(DeviceStepper, Bf16StaysNear) {
  auto self = make_self_communicator();
  Grid grid(*self, {});
  SmallRun run;
  run.objective = sed_objective(0.5, 0.1, 0.5);
  const auto host = train_small(run, grid, at::kCPU, std::nullopt);
  const auto half =
      train_small(run, grid, at::kCPU, DeviceStepperOptions{.compute = at::kBFloat16});
  EXPECT_FALSE(at::equal(host.weights, half.weights));
  for (size_t s = 0; s < host.steps.size(); ++s)
    EXPECT_NEAR(host.steps[s].losses[0], half.steps[s].losses[0], 0.05) << "step " << s;
}

TEST(DeviceStepper, LossThatIsNotFiniteIsAFailureThatNamesTheStep) {
  auto self = make_self_communicator();
  Grid grid(*self, {});
  SmallRun run;
  run.poison = 9;
  const auto result = train_small(run, grid, at::kCPU, DeviceStepperOptions{});
  ASSERT_TRUE(result.failure.has_value());
  EXPECT_NE(std::string(result.failure->what()).find("(epoch 0, step 9): expected a finite loss"),
            std::string::npos)
      << result.failure->what();
}

TEST(UpdateMembers, TouchesOnlyTheMembersOfTheStep) {
  auto values = at::ones({3, 32});
  Optimizer optimizer({}, values);
  optimizer.update_stack(at::tensor({2, 0}, at::kLong), at::ones({2, 32}),
                         at::tensor({0.1, 0.1}, at::kDouble), at::tensor({1.0, -1.0}, at::kDouble));
  EXPECT_TRUE(at::equal(values[0], at::ones({32})));
  EXPECT_TRUE(at::equal(values[1], at::ones({32})));
  EXPECT_NEAR(values[2][5].item<double>(), 1 - 0.1 * 0.01 - 0.1,
              1e-6);  // decay, then a step of the size of the rate
  EXPECT_EQ(optimizer.steps(), (std::vector<int64_t>{0, 0, 1}));
}
