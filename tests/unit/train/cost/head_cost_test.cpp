#include "train/cost/head_cost.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <tuple>

#include "ensemble/members.hpp"
#include "storage/chunk_stream.hpp"
#include "storage/residency.hpp"
#include "storage_helpers.hpp"
#include "train/cost/head_calibration.hpp"
#include "train/run/run_checkpoint.hpp"

using namespace dissent;

namespace {

void turn_on(TrainConfig& config, const std::string& loss) {
  for (size_t i = 0; i < config.losses.size(); ++i)
    if (losses::loss_table()[i].name == loss) config.losses[i].present = true;
}

TrainConfig sed(int64_t members, int64_t active, int64_t batch) {
  TrainConfig config;
  config.ensemble.members = members;
  config.ensemble.active = active;
  config.ensemble.hidden = 3072;
  config.data.batch_size = batch;
  turn_on(config, "cross_entropy");
  return config;
}

const RowsShape kImagenet{.rows_per_pass = 1281167, .passes = 4, .dim = 768, .classes = 1000};

HeadRunShape imagenet(int64_t members, int64_t active, int64_t batch) {
  return head_run_shape(sed(members, active, batch), kImagenet, {}, {}, 0);
}

// Like imagenet with a head that takes no time to make, for costs that do not depend on it.
HeadRunShape small(int64_t members, int64_t active, int64_t batch, int64_t rows = 160000) {
  auto config = sed(members, active, batch);
  config.ensemble.model = "linear";
  return head_run_shape(config, {.rows_per_pass = rows, .passes = 1, .dim = 8, .classes = 4}, {},
                        {}, 0);
}

double linear_time(int64_t pairs) { return static_cast<double>(pairs); }

}  // namespace

// SED's head has 5,495,272 parameters; a step on 2 members and 32 rows multiplies each weight three
// times.
TEST(Cost, CountsOfSedsHead) {
  const auto run = imagenet(5, 2, 32);
  EXPECT_EQ(run.head->layout().parameter_count(), 5495272);
  EXPECT_EQ(run.flat(), 5495280);  // the classifier's bias of 1,000 is padded to 1,008
  EXPECT_EQ(run.saved_per_row, 4 * 768 + 2 * 3072 + 4);
  const auto cost = head_step_cost(run, {});
  const double weights = 768.0 * 3072 * 2 + 768 * 1000;
  EXPECT_DOUBLE_EQ(cost.flops, 3 * 2 * weights * 32 * 2);
  EXPECT_DOUBLE_EQ(
      cost.weight_bytes,
      8 * 4.0 * 5495280 * 2);  // adamw: read twice; read and written: weights, two moments
  EXPECT_EQ(cost.logits_bytes, 2 * 32 * 1000 * 4);
  EXPECT_EQ(cost.gather_bytes, 0);
  EXPECT_EQ(cost.reduce_bytes, 0);
  EXPECT_EQ(steps_per_epoch(run.plan), 40037);
}

TEST(Cost, MessagesOfAStep) {
  const auto run = imagenet(50, 2, 16);
  const auto cost = head_step_cost(run, {1, 4, 2});
  EXPECT_DOUBLE_EQ(cost.gather_bytes, 2 * 16 * 1000 * 4 * 7.0 / 8);
  EXPECT_DOUBLE_EQ(cost.reduce_bytes, 2.0 / 4 * 4 * 5495280 * 2 * 1 / 2);
  EXPECT_DOUBLE_EQ(cost.weight_bytes - head_step_cost(run, {1, 8, 1}).weight_bytes,
                   2 * 4.0 * 5495280 * 2);  // the gradient is written and read
  const MessageCost messages{.latency_s = 1e-6, .bytes_per_second = 1e9};
  EXPECT_EQ(messages.all_gather(1, 1e9), 0);
  EXPECT_DOUBLE_EQ(messages.all_gather(5, 1e6), 4e-6 + 1e-3);
  EXPECT_DOUBLE_EQ(messages.all_reduce(2, 1e6), 2e-6 + 1e-3);
}

TEST(Cost, OptimiserStates) {
  auto config = sed(4, 2, 8);
  config.ensemble.model = "mlp";
  for (const auto& [kind, momentum, states] : {std::tuple(OptimizerKind::kAdamW, 0.9, 2),
                                               {OptimizerKind::kAdam, 0.9, 2},
                                               {OptimizerKind::kSgd, 0.9, 1},
                                               {OptimizerKind::kSgd, 0.0, 0}}) {
    config.optimizer.kind = kind;
    config.optimizer.momentum = momentum;
    const auto run = head_run_shape(
        config, {.rows_per_pass = 100, .passes = 1, .dim = 16, .classes = 3}, {}, {}, 0);
    EXPECT_EQ(run.states,
              static_cast<int64_t>(Optimizer(config.optimizer, at::zeros({1, 1})).state().size()))
        << optimizer_name(kind);
    EXPECT_EQ(run.states, states);
    const auto memory = head_memory_cost(run, {1, 2, 1}, simulate_waves(run, 2), 1);
    EXPECT_EQ(memory.parameters, 2 * run.flat() * 4);
    EXPECT_EQ(memory.optimizer, states * memory.parameters);
  }
}

// The values in docs/architecture.md, over 10,000 steps.
TEST(Cost, MeanWidthOfWaves) {
  EXPECT_NEAR(simulate_waves(small(50, 2, 16), 1).mean_width(), 7.9, 0.1);
  EXPECT_NEAR(simulate_waves(small(5, 2, 16), 1).mean_width(), 1.33, 0.02);
  EXPECT_EQ(simulate_waves(small(6, 6, 16), 1).mean_width(), 1);
  EXPECT_EQ(simulate_waves(small(50, 2, 16, 40), 1).steps, 3);
}

TEST(Cost, SpeedUpOfWaves) {
  for (const int64_t parts : {1, 2, 8, 25}) {
    const auto waves = simulate_waves(small(50, 2, 16), parts);
    int64_t pairs = 0;
    for (const auto& wave : waves.waves)
      pairs += std::accumulate(wave.pairs.begin(), wave.pairs.end(), int64_t{0});
    EXPECT_EQ(pairs, 2 * waves.steps);
    EXPECT_LE(waves.speed_up(), static_cast<double>(parts));
    // No wave is shorter than one pair.
    EXPECT_LE(waves.speed_up(), 2 * waves.mean_width());
    fmt::print("waves: 50 members, 2 active, {} groups: {:.2f} times one\n", parts,
               waves.speed_up());
  }
  EXPECT_EQ(simulate_waves(small(50, 2, 16), 1).speed_up(), 1);
  EXPECT_EQ(simulate_waves(small(6, 6, 16), 3).speed_up(), 3);
  EXPECT_EQ(simulate_waves(small(6, 6, 16), 4).speed_up(), 3);  // groups of 2, 2, 1, 1
  EXPECT_EQ(simulate_waves(small(8, 1, 16), 1).most_pairs(), 8);
}

TEST(Cost, BytesOfCaches) {
  auto self = make_self_communicator();
  const dissent::testing::TempFolder folder(*self);
  for (const auto dtype : {at::kFloat, at::kHalf}) {
    const std::string path = folder / (std::string(at::toString(dtype)) + ".cache");
    dissent::testing::write_cache(*self, path, dissent::testing::small_spec(dtype));
    const auto cache = FeatureCache::open(path);
    const RowsShape rows{
        .rows_per_pass = 1000, .passes = 3, .dim = 5, .classes = 10, .dtype = dtype};
    EXPECT_EQ(host_bytes(rows), HostResidency::bytes(cache, all_rows(cache)));
    EXPECT_EQ(stream_bytes(rows, 300), ChunkStream::bytes(cache, 300));
    EXPECT_EQ(stream_bytes(rows, 0), ChunkStream::bytes(cache, 1000));
    EXPECT_EQ(cache_bytes(rows), cache.rows() * cache.spec().row_bytes());
  }
}

TEST(Cost, DataOfANode) {
  const RowsShape other{.rows_per_pass = 50, .passes = 2, .dim = 8, .classes = 4};
  auto config = sed(4, 2, 8);
  config.ensemble.model = "linear";
  const RowsShape train{.rows_per_pass = 1000, .passes = 1, .dim = 8, .classes = 4};
  const auto run = head_run_shape(config, train, other, other, 0);
  const int64_t rest =
      host_bytes({.rows_per_pass = 50, .passes = 1, .dim = 8, .classes = 4}) + host_bytes(other);
  config.data.chunk_rows = 100;
  const auto ample = data_cost(run, config.data, 3, int64_t{1} << 40),
             scarce = data_cost(run, config.data, 3, 1 << 10);
  EXPECT_FALSE(ample.stream);
  EXPECT_EQ(ample.node_bytes, host_bytes(train) + rest);
  EXPECT_TRUE(scarce.stream);
  EXPECT_EQ(scarce.node_bytes, 3 * stream_bytes(train, 100) + rest);
}

// Against the size of a checkpoint that is really written, for every head and optimiser.
TEST(Cost, BytesOfACheckpoint) {
  auto self = make_self_communicator();
  Grid grid(*self, {});
  const dissent::testing::TempFolder folder(*self);
  const RowsShape rows{.rows_per_pass = 100, .passes = 1, .dim = 16, .classes = 10};
  for (const auto& head : head_registry())
    for (const auto kind : {OptimizerKind::kAdamW, OptimizerKind::kSgd}) {
      const std::string name = optimizer_name(kind);
      auto config = sed(3, 2, 8);
      config.ensemble.model = head.name;
      config.ensemble.hidden = 32;
      config.optimizer.kind = kind;
      config.training.epochs = 4;
      const std::string text(900, 'x');
      const auto run = head_run_shape(config, rows, {}, {}, static_cast<int64_t>(text.size()));
      auto members = make_members(run.head, 3, {0, 3}, 1, at::kFloat, at::kCPU);
      const Optimizer optimizer(config.optimizer, members.values);
      const Schedule schedule(config.schedule, 1e-3, 4, 13);
      const RunContents contents{.data_kind = "caches",
                                 .data = "train 100x16 0123456789abcdef",
                                 .dim = 16,
                                 .classes = 10,
                                 .networks = 3,
                                 .first_network = 0,
                                 .local_networks = 3,
                                 .writes_networks = true,
                                 .stacks = {{"members/", members.values, &members.head->layout()}},
                                 .shared = {},
                                 .loss_scale = nullptr};
      RunState state;
      state.epoch = 4;
      state.records.resize(4);
      const std::string path = folder / (head.name + name + ".h5");
      write_run_checkpoint(path, grid,
                           {.folder = folder.path(),
                            .config_text = text,
                            .config_hash = "0123456789abcdef",
                            .seed = 1,
                            .show_progress = false},
                           contents, optimizer, schedule, state);
      const auto written = static_cast<double>(std::filesystem::file_size(path));
      EXPECT_NEAR(static_cast<double>(head_storage_cost(run, 1).checkpoint) / written, 1, 0.05)
          << head.name << " " << name << " " << written;
    }
}

TEST(Cost, TimeIsThatOfTheBusiestGroup) {
  const auto run = small(6, 6, 16, 1600);  // 100 steps, all members in each
  const MessageCost free{.latency_s = 0, .bytes_per_second = 1e30},
      slow{.latency_s = 1, .bytes_per_second = 1e30};
  const HeadRankTimes times{linear_time, linear_time, 7, 2, 0};
  const auto one = head_time_cost(run, {}, 1, simulate_waves(run, 1), times, free);
  EXPECT_DOUBLE_EQ(one.step_s, 6);
  EXPECT_DOUBLE_EQ(one.busy, 1);
  EXPECT_DOUBLE_EQ(*one.epoch_s, 609);
  const auto four = head_time_cost(run, {1, 4, 1}, 1, simulate_waves(run, 4), times, free);
  EXPECT_DOUBLE_EQ(four.step_s, 2);
  EXPECT_DOUBLE_EQ(four.busy, 0.75);
  const auto messages = head_time_cost(run, {1, 4, 1}, 1, simulate_waves(run, 4), times, slow);
  EXPECT_DOUBLE_EQ(messages.step_s, 2 + 3);  // a ring of four
  EXPECT_DOUBLE_EQ(messages.exchange_s, 3);
}

TEST(Cost, EpochsRunsAndValidation) {
  auto config = sed(6, 6, 16);
  config.ensemble.model = "linear";
  config.training.epochs = 3;
  config.training.frozen_first_epoch = true;
  const RowsShape rows{.rows_per_pass = 1600, .passes = 1, .dim = 8, .classes = 4};
  const auto run = head_run_shape(config, rows, rows, {}, 0);
  const HeadRankTimes times{
      linear_time, [](int64_t pairs) { return 0.5 * static_cast<double>(pairs); }, 1, 4, 10};
  const auto cost = head_time_cost(run, {2, 3, 1}, 5, simulate_waves(run, 3), times,
                                   {.latency_s = 0, .bytes_per_second = 1e30});
  EXPECT_DOUBLE_EQ(*cost.epoch_s, 200 + 1 + 4 + 10);
  EXPECT_NEAR(*cost.run_s, 2 * 215 + 100 + 11, 1e-6);
  EXPECT_NEAR(*cost.total_s, 3 * *cost.run_s, 1e-6);  // five runs, two at a time
}

TEST(Cost, BestGrid) {
  const MachineRates rates{};
  const MessageCost messages{};
  const auto run = imagenet(50, 2, 16);
  const auto expect = [&](const HeadRunShape& shape, int64_t ranks, int64_t runs,
                          const GridShape& wanted) {
    const auto grid = best_head_grid(shape, ranks, runs, rates, messages);
    ASSERT_TRUE(grid);
    EXPECT_EQ(std::tuple(grid->runs, grid->members, grid->data),
              std::tuple(wanted.runs, wanted.members, wanted.data))
        << ranks << " ranks";
  };
  expect(run, 1, 1, {1, 1, 1});
  expect(run, 8, 1, {1, 8, 1});
  expect(run, 25, 1, {1, 25, 1});
  expect(run, 4, 4, {4, 1, 1});  // runs need no message and wait for nobody
  EXPECT_FALSE(best_head_grid(small(2, 2, 1), 3, 1, rates, messages));
}

TEST(Calibration, MissingPairsLieOnTheLine) {
  HeadCalibration calibration;
  calibration.wave_s = {{1, 3.0}, {2, 5.0}};
  const auto times = rank_times(calibration);
  EXPECT_DOUBLE_EQ(times.wave_s(2), 5);
  EXPECT_DOUBLE_EQ(times.wave_s(0), 1);
  EXPECT_DOUBLE_EQ(times.wave_s(5), 11);
  calibration.wave_s = {{4, 8.0}};
  EXPECT_DOUBLE_EQ(rank_times(calibration).wave_s(2), 4);
}

// Every kind of rank can be stood in for: alone, one of several groups, with a split batch,
// clipped, with unlabelled rows.
TEST(Calibration, MeasuresARankOfAnyGrid) {
  auto config = sed(6, 2, 8);
  config.ensemble.hidden = 32;
  config.training.frozen_first_epoch = true;
  config.training.epochs = 2;
  turn_on(config, "a2d");
  config.disagreement.on = ObjectiveOptions::RepulsionOn::kUnlabelled;
  const RowsShape rows{.rows_per_pass = 100, .passes = 1, .dim = 16, .classes = 10};
  for (const double clip_norm : {0.0, 1.0})
    for (const GridShape& grid : {GridShape{1, 1, 1}, GridShape{1, 3, 1}, GridShape{1, 2, 3}}) {
      config.training.clip_norm = clip_norm;
      const auto run = head_run_shape(config, rows, rows, rows, 0);
      const auto calibration = calibrate_heads(config, run, grid, grid.members - 1, 0.02);
      EXPECT_FALSE(calibration.wave_s.empty());
      EXPECT_FALSE(calibration.frozen_wave_s.empty());
      EXPECT_GT(calibration.validation_s, 0);
      EXPECT_GT(calibration.probe_s, 0);
      for (const auto& [pairs, seconds] : calibration.wave_s) {
        EXPECT_LE(pairs, simulate_waves(run, grid.members).most_pairs());
        EXPECT_GT(seconds, 0);
      }
      auto self = make_self_communicator();
      EXPECT_EQ(merge(*self, calibration, 6).wave_s, calibration.wave_s);
    }
}
