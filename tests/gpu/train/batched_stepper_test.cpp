// The device path on a GPU against the host: f32 to a tolerance, recorded graphs against launches
// one by one, bf16 near, two ranks over NCCL.
#include "gpu/gpu_main.hpp"
#include "train_run.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {
// As on the CPU (unit/train/batched_stepper_test.cpp), with the sums of the GPU's kernels in yet
// another order.
constexpr double kTolerance = 5e-4;
at::Device gpu() { return {at::kCUDA, static_cast<c10::DeviceIndex>(device())}; }
}  // namespace

TEST(GpuBatchedStepper, GivesTheNumbersOfTheHost) {
  Grid grid(world(), {1, world().size(), 1});
  for (const auto& [name, run] : small_runs()) {
    SCOPED_TRACE(name);
    const auto host = train_small(run, grid, at::kCPU, std::nullopt);
    expect_close(host, train_small(run, grid, gpu(), BatchedOptions{.graphs = false}), kTolerance);
    expect_close(host, train_small(run, grid, gpu(), BatchedOptions{}), kTolerance);
  }
}

TEST(GpuBatchedStepper, SplitsTheBatch) {
  if (world().size() == 1) GTEST_SKIP() << "one rank";
  Grid grid(world(), {1, 1, world().size()});
  SmallRun run;
  run.objective = sed_objective(0.5, 0.1, 0.5);
  expect_close(train_small(run, grid, at::kCPU, std::nullopt),
               train_small(run, grid, gpu(), BatchedOptions{}), kTolerance);
}

TEST(GpuBatchedStepper, Bf16StaysNear) {
  Grid grid(world(), {1, world().size(), 1});
  SmallRun run;
  run.objective = sed_objective(0.5, 0.1, 0.5);
  const auto host = train_small(run, grid, at::kCPU, std::nullopt);
  const auto half = train_small(run, grid, gpu(), BatchedOptions{.compute = at::kBFloat16});
  for (size_t s = 0; s < host.steps.size(); ++s) {
    if (!host.steps[s].known) continue;
    EXPECT_NEAR(host.steps[s].losses[0], half.steps[s].losses[0], 0.05) << "step " << s;
  }
}
