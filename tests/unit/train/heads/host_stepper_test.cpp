#include <cmath>
#include <limits>
#include <utility>

#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"
#include "train/run/divergence.hpp"

#include <gtest/gtest.h>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "objectives.hpp"

using namespace dissent;

namespace {

constexpr int64_t kMembers = 8, kRows = 128, kDim = 16, kClasses = 6;

struct Run {
  at::Tensor weights;
  std::vector<StepResult> results;  // in step order
  std::vector<int64_t> counts;      // optimiser steps of each member
  std::optional<Error> failure;
};

// Steps of one epoch; `poison` makes the features of that step NaN.
Run train(const OptimizerOptions& optimizer_options, const StepperOptions& options,
          int64_t look_ahead, int threads, int64_t poison = -1) {
  set_threads(threads);
  auto self = make_self_communicator();
  Grid grid(*self, {});
  auto x = at::empty({kRows, kDim}, at::kDouble);
  fill_uniform(x, -2, 2, Random(5, Purpose::kNoise, 1));
  x = x.to(at::kFloat);
  const auto labels = at::arange(kRows, at::kLong).remainder(kClasses);
  auto members = make_members(make_head("block_head", kDim, 32, kClasses), kMembers, {0, kMembers},
                              2, at::kFloat, at::kCPU);
  Optimizer optimizer(optimizer_options, members.values);
  const auto objective = dissent::testing::sed_objective(0.5, 0, 0.5);
  HostStepper stepper(members, optimizer, objective, options, grid);
  const EpochPlan plan({.seed = 1,
                        .rows_per_pass = kRows,
                        .passes = 1,
                        .batch_size = 4,
                        .unlabelled_rows = 0,
                        .members = kMembers,
                        .active = 2,
                        .round_robin = false},
                       0);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));
  Run run;
  run.results.resize(steps.size());
  for (const auto& wave : make_waves(steps, look_ahead)) {
    std::vector<StepInput> inputs;
    for (const int64_t s : wave) {
      const auto rows = at::tensor(steps[s].rows, at::kLong);
      auto batch = x.index_select(0, rows);
      if (s == poison) batch[0][0] = std::numeric_limits<float>::quiet_NaN();
      inputs.push_back({&steps[s], 0.01, batch, labels.index_select(0, rows)});
    }
    const auto results = stepper.run(inputs, 0, true);
    for (size_t i = 0; i < wave.size(); ++i) run.results[wave[i]] = results[i];
  }
  set_threads(1);
  run.weights = members.values.clone();
  run.counts = optimizer.steps();
  run.failure = stepper.failure();
  return run;
}

void expect_same(const Run& a, const Run& b) {
  EXPECT_TRUE(at::equal(a.weights, b.weights));
  EXPECT_EQ(a.counts, b.counts);
  for (size_t s = 0; s < a.results.size(); ++s) {
    EXPECT_EQ(a.results[s].skipped, b.results[s].skipped);
    if (a.results[s].skipped) continue;
    EXPECT_EQ(a.results[s].total, b.results[s].total) << "step " << s;
    EXPECT_EQ(a.results[s].losses, b.results[s].losses) << "step " << s;
  }
}

std::vector<std::pair<const char*, std::pair<OptimizerOptions, StepperOptions>>> forms() {
  const OptimizerOptions adamw{}, sgd{.kind = OptimizerKind::kSgd, .weight_decay = 1e-4};
  return {{"adamw", {adamw, {}}},
          {"sgd", {sgd, {}}},
          {"clipped", {sgd, {.clip_norm = 0.3}}},
          {"skipping", {adamw, {.skip_not_finite = true}}}};
}

}  // namespace

TEST(Waves, GiveTheBitsOfOneStepAtATime) {
  for (const auto& [name, form] : forms()) {
    SCOPED_TRACE(name);
    const auto one = train(form.first, form.second, 1, 1);
    expect_same(one, train(form.first, form.second, 64, 1));
    expect_same(one, train(form.first, form.second, 64, 2));
    expect_same(one, train(form.first, form.second, 1, 3));
  }
}

TEST(NotFinite, StepIsSkippedWholeAndOthersAreNot) {
  for (const auto& [name, form] : forms()) {
    SCOPED_TRACE(name);
    StepperOptions options = form.second;
    options.skip_not_finite = true;
    const auto one = train(form.first, options, 1, 1, 9);
    EXPECT_TRUE(one.results[9].skipped);
    EXPECT_TRUE(one.weights.isfinite().all().item<bool>());
    int64_t skipped = 0;
    for (const auto& result : one.results) skipped += result.skipped;
    EXPECT_EQ(skipped, 1);
    expect_same(one, train(form.first, options, 64, 2, 9));
  }
}

TEST(NotFinite, IsAFailureThatNamesTheStep) {
  for (const auto& [name, form] : forms()) {
    StepperOptions options = form.second;
    options.skip_not_finite = false;
    const auto run = train(form.first, options, 1, 1, 9);
    ASSERT_TRUE(run.failure.has_value()) << name;
    EXPECT_EQ(run.failure->kind(), ErrorKind::kData);
    EXPECT_NE(std::string(run.failure->what()).find("epoch 0, step 9"), std::string::npos)
        << run.failure->what();
  }
  EXPECT_FALSE(train({}, {}, 1, 1).failure.has_value());
}

// A finite but huge input: the bound cannot promise a finite gradient, so it is looked at; the
// result is still finite and nothing is skipped.
TEST(NotFinite, DoubtIsSettledByLooking) {
  auto self = make_self_communicator();
  Grid grid(*self, {});
  auto members =
      make_members(make_head("linear", 4, std::nullopt, 3), 2, {0, 2}, 2, at::kFloat, at::kCPU);
  Optimizer optimizer({}, members.values);
  const ObjectiveOptions objective{.terms = {dissent::testing::cross_entropy_term()}};
  HostStepper stepper(members, optimizer, objective, {.skip_not_finite = true}, grid);
  const Step step{0, 0, {0, 1}, {}, {0, 1}, 0};
  const auto x = at::full({2, 4}, 3e37f);
  const auto results = stepper.run({{&step, 1e-3, x, at::zeros({2}, at::kLong)}}, 0, true);
  EXPECT_TRUE(members.values.isfinite().all().item<bool>());
  EXPECT_EQ(results[0].skipped, !std::isfinite(results[0].total));
}

TEST(Divergence, SaysWhichMemberAndWhichTermAndWhatToTry) {
  auto outputs = at::ones({3, 2, 4});
  outputs[1][0][2] = -7;
  EXPECT_EQ(bad_members(outputs, {2, 5, 6}),
            "outputs of all members are finite, the largest is 7 of member 5");
  outputs[0][1][0] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bad_members(outputs, {2, 5, 6}), "outputs of member 2 are not finite");
  outputs[2][1][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(bad_members(outputs, {2, 5, 6}), "outputs of members 2, 6 are not finite");
  EXPECT_EQ(
      divergence_message({.epoch = 3,
                          .step = 17,
                          .found = std::nan(""),
                          .members = "outputs of member 2 are not finite",
                          .learning_rate = 0.1},
                         {{"cross_entropy", {}, {}}, {"a2d", {}, {}}}, {2.5, std::nan("")}),
      "training (epoch 3, step 17): expected a finite loss, found nan: training has diverged: "
      "loss.cross_entropy is 2.5, loss.a2d is nan, outputs of member 2 are not finite; try a "
      "smaller optimizer.learning_rate (0.1 in this step), training.clip_norm, a smaller "
      "loss.a2d.weight; training.on_nan = \"skip_step\" skips such steps");
}
