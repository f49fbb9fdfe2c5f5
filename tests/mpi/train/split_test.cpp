// The same steps on every split of members over ranks give the same bits; a split of the batch gives them to rounding.
#include <gtest/gtest.h>

#include "core/random.hpp"
#include "mpi_main.hpp"
#include "train/stepper.hpp"
#include "train/waves.hpp"
#include "train_run.hpp"

using namespace dissent;
using dissent::testing::world;

namespace {

constexpr int64_t kMembers = 5, kRows = 90, kDim = 24, kClasses = 7, kBatch = 13, kUnlabelled = 11;

struct Setting {
  const char* name = "";
  ObjectiveOptions objective;
  OptimizerOptions optimizer;
  StepperOptions stepper;
  int64_t active = 2;
  bool unlabelled = false;
};

using Repulsion = ObjectiveOptions::Repulsion;

Setting a2d_hard() {
  Setting s;
  s.name = "a2d_hard";
  s.objective.repulsion = Repulsion::kA2d;
  s.objective.sample_weight = ObjectiveOptions::SampleWeight::kHard;
  s.objective.repulsion_weight = 2.5;
  s.objective.label_smoothing = 0.5;
  s.optimizer.weight_decay = 0.1;
  return s;
}

// Every loss that is not linear in the batch, and both forms of the update.
std::vector<Setting> settings() {
  std::vector<Setting> all{a2d_hard()};
  auto sgd = a2d_hard();
  sgd.name = "a2d_hard, sgd with momentum";
  sgd.optimizer.name = "sgd";
  sgd.optimizer.learning_rate = 0.05;
  all.push_back(sgd);
  auto clipped = sgd;
  clipped.name = "a2d_hard, clipped, all active";
  clipped.stepper.clip_norm = 0.5;
  clipped.active = kMembers;
  all.push_back(clipped);
  auto divdis = a2d_hard();
  divdis.name = "divdis mi with regulariser on unlabelled data";
  divdis.objective.repulsion = Repulsion::kDivDis;
  divdis.objective.sample_weight = ObjectiveOptions::SampleWeight::kNone;
  divdis.objective.repulsion_on = ObjectiveOptions::RepulsionOn::kUnlabelled;
  divdis.objective.regulariser_weight = 0.7;
  divdis.unlabelled = true;
  divdis.active = 3;
  all.push_back(divdis);
  auto threshold = a2d_hard();
  threshold.name = "a2d below a threshold";
  threshold.objective.sample_weight = ObjectiveOptions::SampleWeight::kNone;
  threshold.objective.below_threshold = 1.0 / kClasses;
  all.push_back(threshold);
  return all;
}

struct Outcome {
  at::Tensor weights;  // [M, P], all members
  at::Tensor losses;   // [steps, 4]
};

at::Tensor features(uint64_t key, int64_t rows) {
  auto x = at::empty({rows, kDim}, at::kDouble);
  fill_uniform(x, -2, 2, Random(5, Purpose::kNoise, key));
  return x.to(at::kFloat);
}

// Two epochs of a tiny set, in waves, on the given grid.
Outcome train(Communicator& comm, const GridShape& shape, const Setting& setting, int64_t look_ahead) {
  Grid grid(comm, shape);
  const auto x = features(1, kRows), u = features(2, kUnlabelled);
  auto labels = at::empty({kRows}, at::kLong);
  for (int64_t i = 0; i < kRows; ++i) labels[i] = i * 3 % kClasses;
  std::shared_ptr<const Head> head = make_head("block_head", kDim, 40, kClasses);
  auto members = make_members(head, kMembers, part_of(kMembers, shape.members, grid.member_part), 11, at::kFloat, at::kCPU);
  Optimizer optimizer(setting.optimizer, members.values);
  Stepper stepper(members, optimizer, setting.objective, setting.stepper, grid);
  const PlanOptions plan{.seed = 3, .rows_per_pass = kRows, .passes = 1, .batch_size = kBatch, .unlabelled_rows = setting.unlabelled ? kUnlabelled : 0,
                         .members = kMembers, .active = setting.active, .round_robin = false};
  std::vector<at::Tensor> tables;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const EpochPlan epoch_plan(plan, epoch);
    std::vector<Step> steps;
    for (int64_t s = 0; s < epoch_plan.steps(); ++s) steps.push_back(epoch_plan.step(s));
    auto table = at::zeros({epoch_plan.steps(), 4}, at::kDouble);
    for (const auto& wave : make_waves(steps, look_ahead)) {
      std::vector<StepInput> inputs;
      for (const int64_t s : wave) {
        const Part part = part_of(static_cast<int64_t>(steps[s].rows.size()), shape.data, grid.data_part);
        const auto rows = at::tensor(steps[s].rows, at::kLong);
        StepInput input{&steps[s], setting.optimizer.learning_rate, x.index_select(0, rows.narrow(0, part.first, part.count)), labels.index_select(0, rows)};
        if (setting.unlabelled) {
          const Part extra = part_of(static_cast<int64_t>(steps[s].unlabelled_rows.size()), shape.data, grid.data_part);
          input.x = at::cat({input.x, u.index_select(0, at::tensor(steps[s].unlabelled_rows, at::kLong).narrow(0, extra.first, extra.count))});
        }
        inputs.push_back(input);
      }
      const auto results = stepper.run(inputs, epoch, true);
      for (size_t i = 0; i < wave.size(); ++i)
        if (results[i].known && grid.data_part == 0 && members.holds(steps[wave[i]].active[0]))
          table[wave[i]].copy_(at::tensor({results[i].total, results[i].cross_entropy, results[i].repulsion, results[i].regulariser}, at::kDouble));
    }
    grid.run->all_reduce(table, ReduceOp::kSum);
    tables.push_back(table);
  }
  std::vector<int64_t> counts;
  for (int64_t g = 0; g < shape.members; ++g) counts.push_back(part_of(kMembers, shape.members, g).count * head->layout().size());
  return {grid.members->all_gather(members.values.reshape({-1}), counts).view({kMembers, -1}).clone(), at::cat(tables)};
}

Outcome alone(const Setting& setting) {
  auto self = make_self_communicator();
  return train(*self, {}, setting, 1);
}

}  // namespace

TEST(MemberSplit, GivesTheBitsOfOneRank) {
  for (const auto& setting : settings()) {
    const auto expected = alone(setting), found = train(world(), {1, world().size(), 1}, setting, 64);
    EXPECT_TRUE(at::equal(expected.weights, found.weights)) << setting.name << ": weights differ by " << (expected.weights - found.weights).abs().max().item<double>();
    EXPECT_TRUE(at::equal(expected.losses, found.losses)) << setting.name << ": losses differ";
    EXPECT_TRUE(expected.weights.isfinite().all().item<bool>()) << setting.name;
  }
}

// Sums over the rows of a batch are taken in another order: 1 part in 2^24 a rounding, some tens of steps, and Adam's quotient for tiny gradients.
TEST(DataSplit, GivesTheResultToRounding) {
  const int64_t size = world().size();
  std::vector<GridShape> shapes{{1, 1, size}};
  if (size == 4) shapes.push_back({1, 2, 2});
  for (const auto& setting : settings())
    for (const auto& shape : shapes) {
      const auto expected = alone(setting), found = train(world(), shape, setting, 64);
      EXPECT_LT((expected.weights - found.weights).abs().max().item<double>(), 2e-4) << setting.name;
      EXPECT_LT((expected.losses - found.losses).abs().max().item<double>(), 1e-4) << setting.name;
      EXPECT_TRUE(at::equal(found.weights, train(world(), shape, setting, 64).weights)) << setting.name << ": not the same bits for the same layout";
    }
}

// The device path, on the CPU's memory: the same exchange, the members or the batch over the ranks.
TEST(BatchedStepper, SplitsAgreeWithTheHost) {
  auto& world = dissent::testing::world();
  for (const GridShape shape : {GridShape{1, world.size(), 1}, GridShape{1, 1, world.size()}}) {
    Grid grid(world, shape);
    for (const auto& [name, run] : dissent::testing::small_runs()) {
      SCOPED_TRACE(fmt::format("{}, {} x {}", name, shape.members, shape.data));
      if (run.members < shape.members || run.batch < shape.data || (shape.data > 1 && run.rows % run.batch < shape.data)) continue;
      const auto host = dissent::testing::train_small(run, grid, at::kCPU, std::nullopt);
      dissent::testing::expect_close(host, dissent::testing::train_small(run, grid, at::kCPU, BatchedOptions{}), 3e-5);
    }
  }
}
