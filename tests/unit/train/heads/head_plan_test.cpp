#include "train/heads/waves.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "train/heads/gradient_probe.hpp"

using namespace dissent;

namespace {

PlanOptions options(int64_t rows, int64_t members, int64_t active) {
  return {.seed = 42,
          .rows_per_pass = rows,
          .passes = 4,
          .batch_size = 16,
          .unlabelled_rows = 0,
          .members = members,
          .active = active,
          .round_robin = false};
}

std::vector<Step> all_steps(const PlanOptions& o, int64_t epoch) {
  const EpochPlan plan(o, epoch);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));
  return steps;
}

double mean_width(int64_t members, int64_t active) {
  const auto steps = all_steps(options(160000, members, active), 0);  // 10,000 steps
  return static_cast<double>(steps.size()) / static_cast<double>(make_waves(steps).size());
}

}  // namespace

TEST(Plan, EveryRowOnceAnEpochWithAShortLastBatch) {
  const auto steps = all_steps(options(1003, 5, 2), 1);
  EXPECT_EQ(steps.size(), 63u);
  EXPECT_EQ(steps.back().rows.size(), 11u);
  std::multiset<int64_t> rows;
  for (const auto& step : steps) rows.insert(step.rows.begin(), step.rows.end());
  EXPECT_EQ(rows.size(), 1003u);
  EXPECT_EQ(std::set<int64_t>(rows.begin(), rows.end()).size(), 1003u);
}

TEST(Plan, IsAFunctionOfSeedEpochAndStep) {
  const auto o = options(500, 5, 2);
  const EpochPlan a(o, 3), b(o, 3), c(o, 4);
  EXPECT_EQ(a.step(7).rows, b.step(7).rows);
  EXPECT_EQ(a.step(7).active, b.step(7).active);
  EXPECT_NE(a.step(7).rows, c.step(7).rows);
  EXPECT_EQ(c.pass(), 0);
  EXPECT_EQ(a.pass(), 3);
  for (int64_t s = 0; s < a.steps(); ++s) {
    const auto step = a.step(s);
    EXPECT_EQ(step.active.size(), 2u);
    EXPECT_LT(step.active[0], step.active[1]);
    EXPECT_TRUE(step.drawn_position == 0 || step.drawn_position == 1);
  }
}

// 1003 rows in chunks of 250: four whole ones of 16 steps, the last batch of each with 10 rows, and
// one of 3 rows.
TEST(Plan, ChunksInFileOrderAndNoBatchSpansTwo) {
  auto o = options(1003, 5, 2);
  o.chunk_rows = 250;
  const EpochPlan plan(o, 1);
  EXPECT_EQ(plan.chunks(), 5);
  EXPECT_EQ(plan.steps(), 4 * 16 + 1);
  EXPECT_EQ(steps_per_epoch(o), plan.steps());
  std::multiset<int64_t> rows;
  for (int64_t chunk = 0; chunk < plan.chunks(); ++chunk) {
    std::vector<int64_t> order;
    EXPECT_LT(plan.chunk_begin(chunk), plan.chunk_begin(chunk + 1));
    for (int64_t s = plan.chunk_begin(chunk); s < plan.chunk_begin(chunk + 1); ++s) {
      EXPECT_EQ(plan.chunk_of(s), chunk);
      const auto step = plan.step(s);
      const bool last = s + 1 == plan.chunk_begin(chunk + 1);
      EXPECT_EQ(step.rows.size(), chunk == 4 ? 3u : last ? 10u : 16u);
      for (const int64_t row : step.rows) EXPECT_EQ(row / 250, chunk);
      order.insert(order.end(), step.rows.begin(), step.rows.end());
    }
    EXPECT_TRUE(chunk == 4 || !std::is_sorted(order.begin(), order.end()));
    rows.insert(order.begin(), order.end());
  }
  EXPECT_EQ(plan.chunk_begin(5), plan.steps());
  EXPECT_EQ(rows.size(), 1003u);
  EXPECT_EQ(std::set<int64_t>(rows.begin(), rows.end()).size(), 1003u);
}

TEST(Plan, ChunksAreShuffledEachInItsOwnWay) {
  auto o = options(500, 5, 2);
  o.chunk_rows = 250;
  const EpochPlan plan(o, 0), next(o, 1);
  auto shifted = plan.step(0).rows;
  for (auto& row : shifted) row += 250;
  EXPECT_NE(shifted, plan.step(16).rows);
  EXPECT_NE(plan.step(0).rows, next.step(0).rows);
}

TEST(Plan, AChunkOfAllRowsIsTheWholePass) {
  const auto whole = all_steps(options(1003, 5, 2), 2);
  for (const int64_t chunk_rows : {1003, 5000}) {
    auto o = options(1003, 5, 2);
    o.chunk_rows = chunk_rows;
    const auto steps = all_steps(o, 2);
    ASSERT_EQ(steps.size(), whole.size());
    for (size_t s = 0; s < steps.size(); ++s) {
      EXPECT_EQ(steps[s].rows, whole[s].rows);
      EXPECT_EQ(steps[s].active, whole[s].active);
      EXPECT_EQ(steps[s].drawn_position, whole[s].drawn_position);
    }
  }
}

// The draws of a whole pass are part of every published run: rows of the first step of seed 42,
// epoch 1.
TEST(Plan, WholePassKeepsItsDraws) {
  EXPECT_EQ(all_steps(options(20, 5, 2), 1)[0].rows,
            (std::vector<int64_t>{13, 6, 4, 16, 18, 17, 14, 8, 15, 19, 7, 3, 2, 0, 11, 10}));
}

TEST(Plan, ABatchLargerThanAChunkIsTheChunk) {
  auto o = options(100, 5, 2);
  o.chunk_rows = 7;
  const auto steps = all_steps(o, 0);
  EXPECT_EQ(steps.size(), 15u);
  EXPECT_EQ(steps.front().rows.size(), 7u);
  EXPECT_EQ(steps.back().rows.size(), 2u);
}

TEST(Plan, AnEpochOfImagenetIsPlannedWithinASecond) {
  auto o = options(1281167, 50, 2);
  o.batch_size = 32;
  for (const int64_t chunk_rows : {0, 131072}) {
    o.chunk_rows = chunk_rows;
    const auto start = std::chrono::steady_clock::now();
    const auto steps = all_steps(o, 0);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(steps.size(), 40037u);
    EXPECT_LT(seconds, 1.0);
    fmt::print("plan: {} steps of chunks of {} rows in {:.3f} s\n", steps.size(), chunk_rows,
               seconds);
  }
}

TEST(Plan, UnlabelledRowsWrapRound) {
  auto o = options(64, 3, 3);
  o.unlabelled_rows = 10;
  std::map<int64_t, int> seen;
  for (const auto& step : all_steps(o, 0)) {
    EXPECT_EQ(step.unlabelled_rows.size(), 16u);
    for (const int64_t row : step.unlabelled_rows) ++seen[row];
  }
  EXPECT_EQ(seen.size(), 10u);
}

TEST(Plan, RoundRobinTrainsOneMemberAnEpoch) {
  auto o = options(64, 3, 1);
  o.round_robin = true;
  for (int64_t epoch = 0; epoch < 7; ++epoch)
    for (const auto& step : all_steps(o, epoch))
      EXPECT_EQ(step.active, std::vector<int64_t>{epoch % 3});
}

TEST(Waves, ShareNoMemberKeepEachMembersOrderAndLoseNoStep) {
  const auto steps = all_steps(options(8000, 12, 3), 0);
  std::set<int64_t> seen;
  std::map<int64_t, int64_t> last;
  for (const auto& wave : make_waves(steps)) {
    std::set<int64_t> members;
    for (const int64_t s : wave) {
      EXPECT_TRUE(seen.insert(s).second);
      for (const int64_t member : steps[s].active) {
        EXPECT_TRUE(members.insert(member).second) << "two steps of a wave share member " << member;
        if (last.contains(member)) {
          EXPECT_LT(last[member], s);
        }
        last[member] = s;
      }
    }
  }
  EXPECT_EQ(seen.size(), steps.size());
}

TEST(Waves, AreAsWideAsSimulated) {
  EXPECT_GE(mean_width(50, 2), 7.0);
  EXPECT_GE(mean_width(5, 2), 1.3);
}

TEST(Waves, LookAheadOneIsOneStepAtATime) {
  for (const auto& wave : make_waves(all_steps(options(500, 9, 2), 0), 1))
    EXPECT_EQ(wave.size(), 1u);
}

TEST(GradientProbe, LooksAtEveryMemberAsOftenAsAsked) {
  std::vector<Step> steps;
  for (int64_t s = 0; s < 900; ++s) steps.push_back({0, s, {}, {}, {s % 3, 3}, 0});
  const auto probed = probed_steps(steps, 5, 4);
  std::vector<int64_t> counts(5, 0);
  for (const int64_t s : probed)
    for (const int64_t member : steps[s].active) ++counts[member];
  for (int64_t member = 0; member < 4; ++member) EXPECT_GE(counts[member], 4) << member;
  EXPECT_EQ(counts[4], 0);  // never active
  EXPECT_LE(probed.size(), 16u);
  EXPECT_TRUE(probed_steps(steps, 5, 0).empty());
  steps.resize(90);  // few steps: one of each member's 30, two of the 90 of member 3
  EXPECT_LE(probed_steps(steps, 5, 4).size(), 5u);
}

TEST(GradientProbe, ValuesAreMeansAndAngles) {
  const std::vector<Step> steps{{0, 0, {}, {}, {0, 1}, 0}, {0, 1, {}, {}, {0, 2}, 0}};
  auto probes = at::zeros({2, 2, 3}, at::kDouble);
  probes[0][0].copy_(at::tensor({4.0, 9.0, 0.0}, at::kDouble));    // norms 2 and 3 at a right angle
  probes[1][0].copy_(at::tensor({16.0, 1.0, -4.0}, at::kDouble));  // 4 and 1, opposed
  probes[1][1].copy_(at::tensor({1.0, 0.0, 0.0}, at::kDouble));    // no diversity
  const auto values = gradient_values(probes, {0, 1}, steps, 4);
  EXPECT_DOUBLE_EQ(values[0].base_norm, 3);
  EXPECT_DOUBLE_EQ(values[0].diversity_norm, 2);
  EXPECT_NEAR(values[0].angle_degrees, 135, 1e-12);
  EXPECT_DOUBLE_EQ(values[2].base_norm, 1);
  EXPECT_TRUE(std::isnan(values[2].angle_degrees));
  EXPECT_TRUE(std::isnan(values[3].base_norm));
}
