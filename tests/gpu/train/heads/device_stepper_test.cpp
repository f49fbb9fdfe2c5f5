// The device path on a GPU against the host: f32 to a tolerance, recorded graphs against launches
// one by one, bf16 near, two ranks over NCCL.
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

#include "gpu/gpu_main.hpp"
#include "train_run.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {
// As on the CPU (unit/train/heads/device_stepper_test.cpp), with the sums of the GPU's kernels in
// yet another order.
constexpr double kTolerance = 5e-4;
at::Device gpu() { return {at::kCUDA, static_cast<c10::DeviceIndex>(device())}; }

// On one rank every wave shape that comes often is recorded and replayed; samples that a threshold
// chooses have no fixed shape.
void expect_graphs(const SmallRun& run, const DeviceStepper::GraphCounts& graphs) {
  const bool records = world().size() == 1 && !run.objective.below_threshold;
  EXPECT_EQ(graphs.refused, 0);
  EXPECT_EQ(graphs.recorded > 0, records);
  EXPECT_EQ(graphs.replayed > 0, records);
}
}  // namespace

TEST(GpuDeviceStepper, GivesTheNumbersOfTheHost) {
  Grid grid(world(), {1, world().size(), 1});
  for (const auto& [name, run] : small_runs()) {
    SCOPED_TRACE(name);
    const auto host = train_small(run, grid, at::kCPU, std::nullopt);
    expect_close(host, train_small(run, grid, gpu(), DeviceStepperOptions{.graphs = false}),
                 kTolerance);
    const auto recorded = train_small(run, grid, gpu(), DeviceStepperOptions{});
    expect_close(host, recorded, kTolerance);
    expect_graphs(run, recorded.graphs);
  }
}

// The counts alone, for a device that computes nothing (tests/null_gpu).
TEST(GpuDeviceStepper, RecordsGraphs) {
  Grid grid(world(), {1, world().size(), 1});
  for (const auto& [name, run] : small_runs()) {
    SCOPED_TRACE(name);
    if (run.poison >= 0) continue;
    expect_graphs(run, train_small(run, grid, gpu(), DeviceStepperOptions{}).graphs);
  }
}

// Work that waits for the device cannot be recorded; the error says what LibTorch or CUDA said.
TEST(GpuDeviceGraph, FailureSaysWhatFailed) {
  GraphPool pool(gpu());
  const auto tensor = at::ones({4}, at::TensorOptions(gpu()));
  const auto message_of = [&](const std::function<void()>& work) {
    try {
      DeviceGraph graph(pool, work);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(message_of([] { throw std::runtime_error("of our own"); }).find("of our own"),
            std::string::npos);
  const auto waits = message_of([&] { static_cast<void>(tensor[0].item<float>()); });
  EXPECT_NE(waits.find("expected a step that can be recorded"), std::string::npos) << waits;
  EXPECT_NE(waits.find("aptur"), std::string::npos) << waits;
  EXPECT_EQ(waits.find("cudaSuccess"), std::string::npos) << waits;
  // The stream is of use afterwards.
  EXPECT_NO_THROW(DeviceGraph(pool, [&] { static_cast<void>(tensor + 1); }).replay());
}

// Rows may lie on the host or on the device; the figures are the host's either way.
TEST(GpuDeviceStepper, ProbesGradients) {
  Grid grid(world(), {1, world().size(), 1});
  SmallRun run;
  run.objective = sed_objective(0.5, 0.1, 0.5);
  const auto expected = probe_small(run, grid, at::kCPU, at::kCPU);
  for (const auto rows : {at::Device(at::kCPU), gpu()}) {
    SCOPED_TRACE(rows.str());
    const auto found = probe_small(run, grid, gpu(), rows);
    EXPECT_TRUE(at::allclose(found, expected, 1e-3, 1e-6))
        << "largest difference " << (found - expected).abs().max().item<double>();
  }
}

TEST(GpuDeviceStepper, SplitsTheBatch) {
  if (world().size() == 1) GTEST_SKIP() << "one rank";
  Grid grid(world(), {1, 1, world().size()});
  SmallRun run;
  run.objective = sed_objective(0.5, 0.1, 0.5);
  expect_close(train_small(run, grid, at::kCPU, std::nullopt),
               train_small(run, grid, gpu(), DeviceStepperOptions{}), kTolerance);
}

TEST(GpuDeviceStepper, Bf16StaysNear) {
  Grid grid(world(), {1, world().size(), 1});
  SmallRun run;
  run.objective = sed_objective(0.5, 0.1, 0.5);
  const auto host = train_small(run, grid, at::kCPU, std::nullopt);
  const auto half = train_small(run, grid, gpu(), DeviceStepperOptions{.compute = at::kBFloat16});
  for (size_t s = 0; s < host.steps.size(); ++s) {
    if (!host.steps[s].known) continue;
    EXPECT_NEAR(host.steps[s].losses[0], half.steps[s].losses[0], 0.05) << "step " << s;
  }
}
