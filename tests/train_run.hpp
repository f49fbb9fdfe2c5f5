#pragma once
#include <gtest/gtest.h>

#include "core/random.hpp"
#include "train/batched_stepper.hpp"
#include "train/stepper.hpp"
#include "train/waves.hpp"

namespace dissent::testing {

/// One epoch of a small ensemble of heads, by one of the two runners.
struct SmallRun {
  int64_t members = 8, active = 2, rows = 130, dim = 16, classes = 6, batch = 4;  // the last batch is short
  const char* model = "block_head";
  OptimizerOptions optimizer = {};
  StepperOptions step = {};
  ObjectiveOptions objective = {};
  int64_t poison = -1;    ///< features of this step are NaN
  bool frozen = false;
};

struct SmallResult {
  at::Tensor weights;            ///< [M here, P] on the host
  std::vector<int64_t> counts;   ///< optimiser steps of each member
  std::vector<StepResult> steps; ///< in step order, those that this rank knows
  std::optional<Error> failure;
};

inline ObjectiveOptions a2d_hard() {
  ObjectiveOptions objective;
  objective.repulsion = ObjectiveOptions::Repulsion::kA2d;
  objective.sample_weight = ObjectiveOptions::SampleWeight::kHard;
  objective.label_smoothing = 0.1;
  return objective;
}

/// The runner for these members: Stepper, or BatchedStepper with the given options.
inline SmallResult train_small(const SmallRun& run, Grid& grid, at::Device device, const std::optional<BatchedOptions>& batched, int64_t look_ahead = 64) {
  auto x = at::empty({run.rows, run.dim}, at::kDouble);
  fill_uniform(x, -2, 2, Random(5, Purpose::kNoise, 1));
  x = x.to(at::kFloat).to(device);
  const auto labels = at::arange(run.rows, at::kLong).remainder(run.classes).to(device);
  const Part part = part_of(run.members, grid.shape.members, grid.member_part);
  auto members = make_members(make_head(run.model, run.dim, 32, run.classes), run.members, part, 2, at::kFloat, device);
  Optimizer optimizer(run.optimizer, members.values);
  std::unique_ptr<WaveRunner> runner;
  if (batched) {
    auto options = *batched;
    options.step = run.step;
    runner = std::make_unique<BatchedStepper>(members, optimizer, run.objective, options, grid);
  } else {
    runner = std::make_unique<Stepper>(members, optimizer, run.objective, run.step, grid);
  }
  const EpochPlan plan({.seed = 1, .rows_per_pass = run.rows, .passes = 1, .batch_size = run.batch, .unlabelled_rows = 0, .members = run.members, .active = run.active,
                        .round_robin = false}, 0);
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
  return result;
}

/// Equal to a tolerance of the largest weight; the losses to the same relative one.
inline void expect_close(const SmallResult& a, const SmallResult& b, double tolerance) {
  EXPECT_EQ(a.counts, b.counts);
  if (a.weights.numel() > 0) {
    EXPECT_LT((a.weights - b.weights).abs().max().item<double>(), tolerance * a.weights.abs().max().item<double>());
  }
  for (size_t s = 0; s < a.steps.size(); ++s) {
    ASSERT_EQ(a.steps[s].known, b.steps[s].known) << "step " << s;
    EXPECT_EQ(a.steps[s].skipped, b.steps[s].skipped) << "step " << s;
    if (!a.steps[s].known || a.steps[s].skipped) continue;
    EXPECT_NEAR(a.steps[s].total, b.steps[s].total, tolerance * (1 + std::abs(a.steps[s].total))) << "step " << s;
    EXPECT_NEAR(a.steps[s].repulsion, b.steps[s].repulsion, tolerance * (1 + std::abs(a.steps[s].repulsion))) << "step " << s;
  }
}

/// What the two runners have to agree on.
inline std::vector<std::pair<const char*, SmallRun>> small_runs() {
  const OptimizerOptions adam{.name = "adam", .weight_decay = 0.01}, sgd{.name = "sgd", .learning_rate = 1e-2, .weight_decay = 1e-4},
      nesterov{.name = "sgd", .learning_rate = 1e-2, .momentum = 0.8, .nesterov = true}, plain{.name = "sgd", .momentum = 0};
  std::vector<std::pair<const char*, SmallRun>> runs;
  runs.push_back({"adamw a2d", {.objective = a2d_hard()}});
  runs.push_back({"adam", {.optimizer = adam, .objective = a2d_hard()}});
  runs.push_back({"sgd with momentum", {.optimizer = sgd, .objective = a2d_hard()}});
  runs.push_back({"nesterov", {.optimizer = nesterov}});
  runs.push_back({"plain sgd", {.optimizer = plain}});
  runs.push_back({"clipped", {.optimizer = sgd, .step = {.clip_norm = 0.3}, .objective = a2d_hard()}});
  runs.push_back({"skipping", {.step = {.skip_not_finite = true}, .objective = a2d_hard(), .poison = 9}});
  runs.push_back({"mlp", {.model = "mlp"}});
  runs.push_back({"linear, all members", {.members = 3, .active = 3, .model = "linear", .objective = a2d_hard()}});
  runs.push_back({"frozen", {.objective = a2d_hard(), .frozen = true}});
  ObjectiveOptions divdis;
  divdis.repulsion = ObjectiveOptions::Repulsion::kDivDis;
  runs.push_back({"divdis", {.active = 3, .objective = divdis}});
  return runs;
}

}  // namespace dissent::testing
