#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.hpp"
#include "objectives.hpp"
#include "train/heads/device_stepper.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"

namespace dissent::testing {

/// One epoch of a small ensemble of heads, by one of the two runners.
struct SmallRun {
  int64_t members = 8, active = 2, rows = 130, dim = 16, classes = 6,
          batch = 4;  // the last batch is short
  const char* model = "block_head";
  OptimizerOptions optimizer = {};
  StepperOptions step = {};
  ObjectiveOptions objective = {.terms = {cross_entropy_term()}};
  int64_t poison = -1;  ///< features of this step are NaN
  bool frozen = false;
};

struct SmallResult {
  at::Tensor weights;             ///< [M here, P] on the host
  std::vector<int64_t> counts;    ///< optimiser steps of each member
  std::vector<StepResult> steps;  ///< in step order, those that this rank knows
  std::optional<Error> failure;
  DeviceStepper::GraphCounts graphs;
};

inline PlanOptions plan_options(const SmallRun& run) {
  return {.seed = 1,
          .rows_per_pass = run.rows,
          .passes = 1,
          .batch_size = run.batch,
          .unlabelled_rows = 0,
          .members = run.members,
          .active = run.active,
          .round_robin = false};
}

/// The runner for these members: HostStepper, or DeviceStepper with the given options.
inline SmallResult train_small(const SmallRun& run, Grid& grid, at::Device device,
                               const std::optional<DeviceStepperOptions>& batched,
                               int64_t look_ahead = 64) {
  auto x = at::empty({run.rows, run.dim}, at::kDouble);
  fill_uniform(x, -2, 2, Random(5, Purpose::kNoise, 1));
  x = x.to(at::kFloat).to(device);
  const auto labels = at::arange(run.rows, at::kLong).remainder(run.classes).to(device);
  const Part part = part_of(run.members, grid.shape.members, grid.member_part);
  auto members = make_members(make_head(run.model, run.dim, 32, run.classes), run.members, part, 2,
                              at::kFloat, device);
  Optimizer optimizer(run.optimizer, members.values);
  std::unique_ptr<WaveStepper> runner;
  if (batched) {
    auto options = *batched;
    options.step = run.step;
    runner = std::make_unique<DeviceStepper>(members, optimizer, run.objective, options, grid);
  } else {
    runner = std::make_unique<HostStepper>(members, optimizer, run.objective, run.step, grid);
  }
  const EpochPlan plan(plan_options(run), 0);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));
  SmallResult result;
  result.steps.resize(steps.size());
  for (const auto& wave : make_waves(steps, look_ahead)) {
    std::vector<StepInput> inputs;
    for (const int64_t s : wave) {
      StepInput input{&steps[s], 0.01, {}, {}};
      if (runner->takes_part(steps[s])) {
        const auto rows = at::tensor(steps[s].rows, at::kLong).to(device);
        const Part mine = part_of(rows.size(0), grid.shape.data, grid.data_part);
        input.x = x.index_select(0, rows.narrow(0, mine.first, mine.count));
        if (s == run.poison) input.x.fill_(std::numeric_limits<float>::quiet_NaN());
        input.labels = labels.index_select(0, rows);
      }
      inputs.push_back(std::move(input));
    }
    const auto known = runner->run(inputs, 0, !run.frozen);
    for (size_t i = 0; i < wave.size(); ++i)
      if (known[i].known) result.steps[wave[i]] = known[i];
    for (const auto& late : runner->late_results(false)) result.steps[late.step] = late.result;
  }
  for (const auto& late : runner->late_results(true)) result.steps[late.step] = late.result;
  result.weights = members.values.cpu().clone();
  result.counts = optimizer.steps();
  result.failure = runner->failure();
  if (const auto* stepper = dynamic_cast<const DeviceStepper*>(runner.get()))
    result.graphs = stepper->graph_counts();
  return result;
}

/// The figures of a probe of the first steps, with the members on one device and the rows on
/// another.
inline at::Tensor probe_small(const SmallRun& run, Grid& grid, at::Device device, at::Device rows) {
  const Part part = part_of(run.members, grid.shape.members, grid.member_part);
  auto members = make_members(make_head(run.model, run.dim, 32, run.classes), run.members, part, 2,
                              at::kFloat, device);
  Optimizer optimizer(run.optimizer, members.values);
  std::unique_ptr<WaveStepper> runner;
  if (device.is_cpu())
    runner = std::make_unique<HostStepper>(members, optimizer, run.objective, run.step, grid);
  else
    runner = std::make_unique<DeviceStepper>(members, optimizer, run.objective,
                                             DeviceStepperOptions{}, grid);
  const EpochPlan plan(plan_options(run), 0);
  std::vector<Step> steps;
  for (int64_t s = 0; s < 3; ++s) steps.push_back(plan.step(s));
  std::vector<StepInput> inputs;
  for (const auto& step : steps) {
    StepInput input{&step, 0.01, {}, {}};
    const auto count = static_cast<int64_t>(step.rows.size());
    if (runner->takes_part(step)) {
      auto x = at::empty({count, run.dim}, at::kDouble);
      fill_uniform(x, -2, 2, Random(5, Purpose::kNoise, static_cast<uint64_t>(step.index)));
      input.x = x.to(at::kFloat).to(rows);
      input.labels = at::arange(count, at::kLong).remainder(run.classes).to(rows);
    }
    inputs.push_back(std::move(input));
  }
  return runner->probe(inputs, 0);
}

/// Equal to a tolerance of the largest weight; the losses to the same relative one.
inline void expect_close(const SmallResult& a, const SmallResult& b, double tolerance) {
  EXPECT_EQ(a.counts, b.counts);
  if (a.weights.numel() > 0) {
    EXPECT_LT((a.weights - b.weights).abs().max().item<double>(),
              tolerance * a.weights.abs().max().item<double>());
  }
  for (size_t s = 0; s < a.steps.size(); ++s) {
    ASSERT_EQ(a.steps[s].known, b.steps[s].known) << "step " << s;
    EXPECT_EQ(a.steps[s].skipped, b.steps[s].skipped) << "step " << s;
    if (!a.steps[s].known || a.steps[s].skipped) continue;
    EXPECT_NEAR(a.steps[s].total, b.steps[s].total, tolerance * (1 + std::abs(a.steps[s].total)))
        << "step " << s;
    ASSERT_EQ(a.steps[s].losses.size(), b.steps[s].losses.size());
    for (size_t i = 0; i < a.steps[s].losses.size(); ++i)
      EXPECT_NEAR(a.steps[s].losses[i], b.steps[s].losses[i],
                  tolerance * (1 + std::abs(a.steps[s].losses[i])))
          << "step " << s << ", loss " << i;
  }
}

/// What the two runners have to agree on.
inline std::vector<std::pair<const char*, SmallRun>> small_runs() {
  std::vector<std::pair<const char*, SmallRun>> runs;
  const auto add = [&](const char* name, const std::function<void(SmallRun&)>& change) {
    SmallRun run;
    run.objective = sed_objective(0.5, 0.1, 0.5);
    change(run);
    runs.emplace_back(name, run);
  };
  const auto sgd = [](SmallRun& run, double momentum, bool nesterov) {
    run.optimizer.kind = OptimizerKind::kSgd;
    run.optimizer.learning_rate = 1e-2;
    run.optimizer.weight_decay = 1e-4;
    run.optimizer.momentum = momentum;
    run.optimizer.nesterov = nesterov;
  };
  add("adamw a2d", [](SmallRun&) {});
  add("adam", [](SmallRun& run) {
    run.optimizer.kind = OptimizerKind::kAdam;
    run.optimizer.weight_decay = 0.01;
  });
  add("sgd with momentum", [&](SmallRun& run) { sgd(run, 0.9, false); });
  add("nesterov", [&](SmallRun& run) { sgd(run, 0.8, true); });
  add("plain sgd", [&](SmallRun& run) { sgd(run, 0, false); });
  add("clipped", [&](SmallRun& run) {
    sgd(run, 0.9, false);
    run.step.clip_norm = 0.3;
  });
  add("skipping", [](SmallRun& run) {
    run.step.skip_not_finite = true;
    run.poison = 9;
  });
  add("mlp", [](SmallRun& run) { run.model = "mlp"; });
  add("linear, all members", [](SmallRun& run) {
    run.members = run.active = 3;
    run.model = "linear";
  });
  add("frozen", [](SmallRun& run) { run.frozen = true; });
  add("many losses", [](SmallRun& run) {
    run.active = 3;
    run.objective.terms = {cross_entropy_term(), a2d_term(0.3, false), term("divdis", 0.5),
                           term("ncl", 0.2), term("adp", 0.1)};
  });
  add("a2d on every third step", [](SmallRun& run) { run.objective.terms[1].weight.period = 3; });
  return runs;
}

}  // namespace dissent::testing
