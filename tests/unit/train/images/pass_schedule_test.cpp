// The order of a batch's passes, printed.
#include "train/images/pass_schedule.hpp"

#include <gtest/gtest.h>

using namespace dissent;

namespace {

TEST(PassSchedule, BaseLossesAloneAreOnePassPerNetwork) {
  EXPECT_EQ(schedule_passes({.networks = 2, .threads = 1}).text(),
            "before: 0 train | 1 train\nmaps:\nafter:\n");
}

TEST(PassSchedule, ASharedBatchKeepsItsGraphForTheEnsembleLosses) {
  EXPECT_EQ(schedule_passes({.networks = 2, .ensemble_losses = true}).text(),
            "before: 0 shared_forward maps | 1 shared_forward maps\n"
            "maps:\n"
            "after: 0 ensemble_backward | 1 ensemble_backward\n");
}

TEST(PassSchedule, WithoutRunningStatisticsHalfOfTheTrainingPassesComeAfterTheExchange) {
  EXPECT_EQ(schedule_passes({.networks = 3, .ensemble_losses = true, .common_batch = true}).text(),
            "before: 0 train | 0 evaluate maps | 1 evaluate maps | 2 evaluate maps\n"
            "maps:\n"
            "after: 1 train | 2 train | 0 ensemble_backward | 1 ensemble_backward | 2 "
            "ensemble_backward\n");
}

TEST(PassSchedule, WithRunningStatisticsTheLastRoundsBackwardPassesFillGaps) {
  const ScheduleInput input{.networks = 3,
                            .threads = 2,
                            .ensemble_losses = true,
                            .common_batch = true,
                            .running_statistics = true};
  EXPECT_EQ(
      schedule_passes(input).text(),
      "before: 0 train evaluate maps | 1 train evaluate maps | 2 train_forward evaluate maps\n"
      "maps:\n"
      "after: 0 ensemble_backward | 1 ensemble_backward | 2 ensemble_backward | 2 "
      "train_backward\n");
  auto on_gpu = input;
  on_gpu.on_host = false;  // passes run one after the other: there are no gaps
  EXPECT_EQ(schedule_passes(on_gpu).text().find("train_forward"), std::string::npos);
}

TEST(PassSchedule, MapsOfAnUnlabelledBatchWaitForPredictedLabels) {
  EXPECT_EQ(schedule_passes({.networks = 1,
                             .ensemble_losses = true,
                             .common_batch = true,
                             .labelled = false,
                             .running_statistics = true})
                .text(),
            "before: 0 train evaluate\nmaps: 0 maps\nafter: 0 ensemble_backward\n");
}

TEST(PassSchedule, SynchronisedStatisticsAreExchangedInOrder) {
  const auto schedule = schedule_passes({.networks = 2,
                                         .threads = 2,
                                         .ensemble_losses = true,
                                         .running_statistics = true,
                                         .synchronised_statistics = true});
  EXPECT_EQ(schedule.text(),
            "before: 0 shared_forward maps | 1 shared_forward maps (in order)\n"
            "maps:\n"
            "after: 0 ensemble_backward | 1 ensemble_backward (in order)\n");
}

// Every network is trained once, in whatever layout.
TEST(PassSchedule, EveryNetworkHasItsPasses) {
  for (int64_t networks = 1; networks <= 5; ++networks)
    for (int64_t threads = 1; threads <= 3; ++threads)
      for (int flags = 0; flags < 32; ++flags) {
        const bool statistics = flags & 8;
        const ScheduleInput input{.networks = networks,
                                  .threads = threads,
                                  .ensemble_losses = (flags & 1) != 0,
                                  .common_batch = (flags & 2) != 0,
                                  .labelled = (flags & 4) != 0,
                                  .running_statistics = statistics,
                                  .synchronised_statistics = statistics && (flags & 16) != 0};
        const auto schedule = schedule_passes(input);
        std::vector<int> forwards(networks), backwards(networks), maps(networks);
        for (const auto* stage : {&schedule.before, &schedule.maps, &schedule.after})
          for (const auto& task : stage->tasks)
            for (const auto pass : task.passes) {
              forwards[task.network] += pass == PassKind::kTrain ||
                                        pass == PassKind::kTrainForward ||
                                        pass == PassKind::kSharedForward;
              backwards[task.network] +=
                  pass == PassKind::kTrain || pass == PassKind::kTrainBackward ||
                  (pass == PassKind::kEnsembleBackward && !input.common_batch);
              maps[task.network] += pass == PassKind::kMaps;
            }
        for (int64_t i = 0; i < networks; ++i) {
          EXPECT_EQ(forwards[i], 1) << schedule.text();
          EXPECT_EQ(backwards[i], 1) << schedule.text();
          EXPECT_EQ(maps[i], input.ensemble_losses ? 1 : 0) << schedule.text();
        }
      }
}

}  // namespace
