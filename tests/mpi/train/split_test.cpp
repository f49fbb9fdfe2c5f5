// The same steps on every split of members over ranks give the same bits; a split of the batch
// gives them to rounding.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/random.hpp"
#include "mpi_main.hpp"
#include "objectives.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"
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

using dissent::testing::a2d_term;
using dissent::testing::cross_entropy_term;
using dissent::testing::term;

Setting a2d_hard() {
  Setting s;
  s.name = "a2d_hard";
  s.objective = dissent::testing::sed_objective();
  s.optimizer.weight_decay = 0.1;
  return s;
}

// Every loss that is not linear in the batch, and both forms of the update.
std::vector<Setting> settings() {
  std::vector<Setting> all{a2d_hard()};
  auto sgd = a2d_hard();
  sgd.name = "a2d_hard, sgd with momentum";
  sgd.optimizer.kind = OptimizerKind::kSgd;
  sgd.optimizer.learning_rate = 0.05;
  all.push_back(sgd);
  auto clipped = sgd;
  clipped.name = "a2d_hard, clipped, all active";
  clipped.stepper.clip_norm = 0.5;
  clipped.active = kMembers;
  all.push_back(clipped);
  auto divdis = a2d_hard();
  divdis.name = "divdis mi with regulariser on unlabelled data";
  divdis.objective.terms = {cross_entropy_term(), term("divdis", 2.5), term("oe", 0.3),
                            term("kl_backward", 0.7)};
  divdis.objective.repulsion_on = ObjectiveOptions::RepulsionOn::kUnlabelled;
  divdis.unlabelled = true;
  divdis.active = 3;
  all.push_back(divdis);
  auto threshold = a2d_hard();
  threshold.name = "a2d below a threshold";
  threshold.objective.terms[1] = a2d_term(2.5, false);
  threshold.objective.below_threshold = 1.0 / kClasses;
  all.push_back(threshold);
  auto both = a2d_hard();
  both.name = "losses of both methods, one from the second epoch, one on every other step";
  both.objective.terms = {cross_entropy_term(), a2d_term(0.5, true), term("ncl", 0.4),
                          term("adp", 0.2)};
  both.objective.terms[2].weight.from_epoch = 1;
  both.objective.terms[3].weight.period = 2;
  both.active = 4;
  all.push_back(both);
  for (const auto& loss :
       losses::loss_table()) {  // each that a head can be trained with, by SGD: Adam would magnify
                                // the rounding of gradients near 0
    if (impossible_on_features(loss)) continue;
    auto one = sgd;
    one.name = loss.name.c_str();
    one.objective.terms = {term(loss.name.c_str(), 1)};
    one.unlabelled = reads_unlabelled(one.objective.terms[0], one.objective);
    one.active = 3;
    all.push_back(one);
  }
  return all;
}

// Gradients of a step, separately, gathered over the member groups: [A, 3].
at::Tensor probe(const GridShape& shape, const Setting& setting) {
  Grid grid(world(), shape);
  const auto x = at::sin(at::arange(kBatch * kDim, at::kFloat)).view({kBatch, kDim});
  auto members =
      make_members(make_head("block_head", kDim, 40, kClasses), kMembers,
                   part_of(kMembers, shape.members, grid.member_part), 11, at::kFloat, at::kCPU);
  const Step step{0, 0, std::vector<int64_t>(kBatch), {}, {0, 2, 4}, 1};
  const Part rows = part_of(kBatch, shape.data, grid.data_part);
  Optimizer optimizer(setting.optimizer, members.values);
  HostStepper stepper(members, optimizer, setting.objective, setting.stepper, grid);
  const std::vector<StepInput> wave{
      {&step, 0.1, x.narrow(0, rows.first, rows.count), at::arange(kBatch).remainder(kClasses)}};
  const auto local = stepper.probe(wave, 0);
  auto all = at::zeros({3, 3}, at::kDouble);
  const auto pairs = local_pairs(wave, members);
  for (size_t i = 0; i < pairs.size(); ++i)
    if (grid.data_part == 0) all[pairs[i].position].copy_(local[static_cast<int64_t>(i)]);
  grid.run->all_reduce(all, ReduceOp::kSum);
  return all;
}

struct Outcome {
  at::Tensor weights;  // [M, P], all members
  at::Tensor losses;   // [steps, terms + 1]
};

at::Tensor features(uint64_t key, int64_t rows) {
  auto x = at::empty({rows, kDim}, at::kDouble);
  fill_uniform(x, -2, 2, Random(5, Purpose::kNoise, key));
  return x.to(at::kFloat);
}

// Two epochs of a tiny set, in waves, on the given grid.
Outcome train(Communicator& comm, const GridShape& shape, const Setting& setting,
              int64_t look_ahead) {
  Grid grid(comm, shape);
  const auto x = features(1, kRows), u = features(2, kUnlabelled);
  auto labels = at::empty({kRows}, at::kLong);
  for (int64_t i = 0; i < kRows; ++i) labels[i] = i * 3 % kClasses;
  std::shared_ptr<const Head> head = make_head("block_head", kDim, 40, kClasses);
  auto members = make_members(head, kMembers, part_of(kMembers, shape.members, grid.member_part),
                              11, at::kFloat, at::kCPU);
  Optimizer optimizer(setting.optimizer, members.values);
  HostStepper stepper(members, optimizer, setting.objective, setting.stepper, grid);
  const PlanOptions plan{.seed = 3,
                         .rows_per_pass = kRows,
                         .passes = 1,
                         .batch_size = kBatch,
                         .unlabelled_rows = setting.unlabelled ? kUnlabelled : 0,
                         .members = kMembers,
                         .active = setting.active,
                         .round_robin = false};
  std::vector<at::Tensor> tables;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const EpochPlan epoch_plan(plan, epoch);
    std::vector<Step> steps;
    for (int64_t s = 0; s < epoch_plan.steps(); ++s) steps.push_back(epoch_plan.step(s));
    auto table =
        at::zeros({epoch_plan.steps(), static_cast<int64_t>(setting.objective.terms.size()) + 1},
                  at::kDouble);
    for (const auto& wave : make_waves(steps, look_ahead)) {
      std::vector<StepInput> inputs;
      for (const int64_t s : wave) {
        const Part part =
            part_of(static_cast<int64_t>(steps[s].rows.size()), shape.data, grid.data_part);
        const auto rows = at::tensor(steps[s].rows, at::kLong);
        StepInput input{&steps[s], setting.optimizer.learning_rate,
                        x.index_select(0, rows.narrow(0, part.first, part.count)),
                        labels.index_select(0, rows)};
        if (setting.unlabelled) {
          const Part extra = part_of(static_cast<int64_t>(steps[s].unlabelled_rows.size()),
                                     shape.data, grid.data_part);
          input.x =
              at::cat({input.x, u.index_select(0, at::tensor(steps[s].unlabelled_rows, at::kLong)
                                                      .narrow(0, extra.first, extra.count))});
        }
        inputs.push_back(input);
      }
      const auto results = stepper.run(inputs, epoch, true);
      for (size_t i = 0; i < wave.size(); ++i)
        if (results[i].known && grid.data_part == 0 && members.holds(steps[wave[i]].active[0])) {
          auto row = results[i].losses;
          row.push_back(results[i].total);
          table[wave[i]].copy_(at::tensor(row, at::kDouble));
        }
    }
    grid.run->all_reduce(table, ReduceOp::kSum);
    tables.push_back(table);
  }
  std::vector<int64_t> counts;
  for (int64_t g = 0; g < shape.members; ++g)
    counts.push_back(part_of(kMembers, shape.members, g).count * head->layout().size());
  return {
      grid.members->all_gather(members.values.reshape({-1}), counts).view({kMembers, -1}).clone(),
      at::cat(tables)};
}

Outcome alone(const Setting& setting) {
  auto self = make_self_communicator();
  return train(*self, {}, setting, 1);
}

}  // namespace

TEST(MemberSplit, GivesTheBitsOfOneRank) {
  for (const auto& setting : settings()) {
    const auto expected = alone(setting),
               found = train(world(), {1, world().size(), 1}, setting, 64);
    EXPECT_TRUE(at::equal(expected.weights, found.weights))
        << setting.name << ": weights differ by "
        << (expected.weights - found.weights).abs().max().item<double>();
    EXPECT_TRUE(at::equal(expected.losses, found.losses)) << setting.name << ": losses differ";
    EXPECT_TRUE(expected.weights.isfinite().all().item<bool>()) << setting.name;
  }
}

// Sums over the rows of a batch are taken in another order: 1 part in 2^24 a rounding, some tens of
// steps, and Adam's quotient for tiny gradients.
TEST(DataSplit, GivesTheResultToRounding) {
  const int64_t size = world().size();
  std::vector<GridShape> shapes{{1, 1, size}};
  if (size == 4) shapes.push_back({1, 2, 2});
  for (const auto& setting : settings())
    for (const auto& shape : shapes) {
      const auto expected = alone(setting), found = train(world(), shape, setting, 64);
      EXPECT_LT((expected.weights - found.weights).abs().max().item<double>(), 2e-4)
          << setting.name;
      EXPECT_LT((expected.losses - found.losses).abs().max().item<double>(), 1e-4) << setting.name;
      EXPECT_TRUE(at::equal(found.weights, train(world(), shape, setting, 64).weights))
          << setting.name << ": not the same bits for the same layout";
    }
}

// The device path, on the CPU's memory: the same exchange, the members or the batch over the ranks.
TEST(DeviceStepper, SplitsAgreeWithTheHost) {
  auto& world = dissent::testing::world();
  for (const GridShape shape : {GridShape{1, world.size(), 1}, GridShape{1, 1, world.size()}}) {
    Grid grid(world, shape);
    for (const auto& [name, run] : dissent::testing::small_runs()) {
      SCOPED_TRACE(fmt::format("{}, {} x {}", name, shape.members, shape.data));
      if (run.members < shape.members || run.batch < shape.data ||
          (shape.data > 1 && run.rows % run.batch < shape.data))
        continue;
      const auto host = dissent::testing::train_small(run, grid, at::kCPU, std::nullopt);
      dissent::testing::expect_close(
          host, dissent::testing::train_small(run, grid, at::kCPU, DeviceStepperOptions{}), 3e-5);
    }
  }
}

// |g|^2, |h|^2 and <g, h> of base and diversity losses: the same bits on every member split, close
// on a split of the batch; consistent with each loss alone.
TEST(GradientProbe, SplitsAgreeAndTheWholeIsTheSum) {
  const auto setting = a2d_hard();
  auto base = setting, diversity = setting;
  base.objective.terms = {setting.objective.terms[0]};
  diversity.objective.terms = {setting.objective.terms[1]};
  const GridShape members{1, world().size(), 1}, data{1, 1, world().size()};
  const auto both = probe(members, setting), alone = probe(members, base),
             other = probe(members, diversity);
  EXPECT_TRUE(at::equal(both.select(1, 0), alone.select(1, 0)));
  EXPECT_TRUE(at::equal(both.select(1, 1), other.select(1, 1)));
  EXPECT_EQ(alone.select(1, 1).abs().max().item<double>(), 0);
  EXPECT_TRUE(
      (both.select(1, 2).square() <= both.select(1, 0) * both.select(1, 1)).all().item<bool>());
  EXPECT_TRUE(at::allclose(both, probe(data, setting), 1e-4, 1e-9));
}
