// Steps of image ensembles whose batch is split over data ranks, with BatchNorm's statistics of the
// whole batch: those of one rank alone.
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/gradcam.hpp>

#include "models/networks/resnet.hpp"
#include "mpi_main.hpp"
#include "train/images/image_stepper.hpp"

using namespace dissent;
using dissent::testing::world;

namespace {

constexpr int64_t kStepMembers = 2, kSide = 16;

struct Case {
  const char* what;
  std::vector<losses::LossTerm> terms;
  bool same_batch;
  std::vector<int64_t> rows;  // of the steps
};

losses::LossTerm weighted_term(const char* name, double weight) {
  return {name, {.weight = weight}, {}};
}

struct Result {
  at::Tensor values, buffers, step_values;
};

// Plain steps of all members. On `whole` every rank does all of the work by itself.
Result train(const Case& c, Grid& grid, bool synchronised, double clip_norm = 0) {
  const auto network =
      std::make_shared<ResNet>(ResNetOptions{.classes = 4, .blocks = {1, 1, 1, 1}, .width = 4});
  auto members = make_members(network, kStepMembers, {0, kStepMembers}, 3, at::kDouble, at::kCPU);
  Optimizer optimizer({.kind = OptimizerKind::kSgd, .learning_rate = 0.05, .momentum = 0.9},
                      members.values);
  ImageStepper stepper(members, {.terms = c.terms, .same_batch = c.same_batch, .unlabelled = false},
                       {.clip_norm = clip_norm,
                        .skip_not_finite = true,
                        .compute = at::kDouble,
                        .synchronised_batch_norm = synchronised},
                       grid, nullptr);
  auto step_values = at::zeros({stepper.columns()}, at::kDouble);
  at::manual_seed(4);
  for (size_t s = 0; s < c.rows.size(); ++s) {
    const int64_t rows = c.rows[s];
    const Part part = part_of(rows, grid.shape.data, grid.data_part);
    ImageStepInput input{.batch = static_cast<int64_t>(s)};
    for (int64_t m = 0; m < (c.same_batch ? 1 : kStepMembers); ++m)
      input.own.push_back(
          {at::randn({rows, 3, kSide, kSide}, at::kDouble).narrow(0, part.first, part.count),
           at::arange(rows).remainder(4).narrow(0, part.first, part.count), rows});
    if (!c.same_batch) input.common = input.own[s % kStepMembers];
    step_values += *stepper.accumulate(input, 1);
    stepper.update(optimizer, 0.05, Request::kNone);
  }
  grid.run->all_reduce(step_values, ReduceOp::kSum);
  return {members.values, members.buffers, step_values};
}

std::vector<Case> cases() {
  const int64_t ranks = world().size();
  return {{"cross-entropy, batches of their own, the last with rows for one rank only",
           {weighted_term("cross_entropy", 1)},
           false,
           {7, 8, 1}},
          {"adversarial inputs, the last batch with rows for one rank only",
           {weighted_term("cross_entropy", 1), weighted_term("adversarial_cross_entropy", 0.5)},
           false,
           {7, 1}},
          {"losses between members on one batch",
           {weighted_term("cross_entropy", 1), weighted_term("ncl", 0.3),
            weighted_term("gradcam", 0.2), weighted_term("input_gradient", 0.1)},
           true,
           {7, ranks + 1}},
          {"losses between members in evaluation mode",
           {weighted_term("cross_entropy", 1), weighted_term("gradcam", 0.2)},
           false,
           {8, ranks}}};
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(SynchronisedStep, IsThatOfOneRank) {
  const auto alone = make_self_communicator();
  Grid one(*alone, {}), split(world(), {1, 1, world().size()});
  for (const auto& c : cases()) {
    SCOPED_TRACE(c.what);
    const auto wanted = train(c, one, true), given = train(c, split, true);
    // A step of momentum passes rounding on some tenfold.
    EXPECT_LE(difference(given.values, wanted.values), 1e-10);
    EXPECT_LE(difference(given.buffers, wanted.buffers), 1e-10);
    EXPECT_LE(difference(given.step_values, wanted.step_values), 1e-10);
    auto first = at::cat({given.values.view(-1), given.buffers.view(-1)});
    const auto mine = first.clone();
    world().broadcast(first, 0);
    EXPECT_TRUE(at::equal(mine, first));  // every data rank has the same bits
  }
}

TEST(SynchronisedStep, LocalStatisticsAreAnotherTraining) {
  const auto alone = make_self_communicator();
  Grid one(*alone, {}), split(world(), {1, 1, world().size()});
  const Case c{"", {weighted_term("cross_entropy", 1)}, false, {8, 8}};
  const auto wanted = train(c, one, true), given = train(c, split, false);
  EXPECT_TRUE(
      at::equal(train(c, one, false).values, wanted.values));  // one rank has nothing to share
  if (world().size() > 1) {
    EXPECT_GT(difference(given.values, wanted.values), 1e-4);
  }
}

TEST(SynchronisedStep, ClippingAndSkippedStepsKeepRanksTogether) {
  const auto alone = make_self_communicator();
  Grid one(*alone, {}), split(world(), {1, 1, world().size()});
  const Case c{"",
               {weighted_term("cross_entropy", 1),
                weighted_term("ncl", std::numeric_limits<double>::infinity())},
               true,
               {8, 8}};  // never finite: each step is passed over
  const auto wanted = train(c, one, true), given = train(c, split, true);
  EXPECT_LE(difference(given.values, wanted.values), 0);
  EXPECT_LE(difference(given.buffers, wanted.buffers), 1e-12);
  const Case clipped{"", {weighted_term("cross_entropy", 1)}, false, {8, 8}};
  EXPECT_LE(
      difference(train(clipped, split, true, 1e-3).values, train(clipped, one, true, 1e-3).values),
      1e-12);
}

TEST(SynchronisedStep, LossesBetweenMembersWantARowForEachRank) {
  if (world().size() == 1) return;
  Grid split(world(), {1, 1, world().size()});
  for (const bool same_batch : {true, false})
    EXPECT_THROW(
        train({"", {weighted_term("cross_entropy", 1), weighted_term("ncl", 0.1)}, same_batch, {1}},
              split, true),
        Error);
}

}  // namespace
