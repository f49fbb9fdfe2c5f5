#include "train/update/schedule.hpp"

#include <gtest/gtest.h>

using namespace dissent;

TEST(Schedule, CosineByEpochAndByStep) {
  ScheduleOptions o{.kind = ScheduleKind::kCosine, .t_max_epochs = 4};
  const Schedule by_epoch(o, 0.1, 8, 10);
  EXPECT_DOUBLE_EQ(by_epoch.rate(0, 9), 0.1);
  EXPECT_NEAR(by_epoch.rate(2, 5), 0.05, 1e-15);
  EXPECT_NEAR(by_epoch.rate(4, 0), 0, 1e-15);
  EXPECT_NEAR(by_epoch.rate(6, 0), 0, 1e-15);  // held
  o.after_end = AfterEnd::kRise;
  EXPECT_NEAR(Schedule(o, 0.1, 8, 10).rate(6, 0), 0.05, 1e-15);
  o.per = ScheduleUnit::kStep;
  EXPECT_NEAR(Schedule(o, 0.1, 8, 10).rate(1, 0), by_epoch.rate(1, 0), 1e-15);
  EXPECT_LT(Schedule(o, 0.1, 8, 10).rate(1, 5), by_epoch.rate(1, 0));
}

// SDDE's: by step down to 1e-6, over all epochs. The last update is one step short of the minimum,
// and past the end the minimum stays.
TEST(Schedule, CosineByStepEndsAtItsMinimum) {
  const Schedule s(
      ScheduleOptions{.kind = ScheduleKind::kCosine, .per = ScheduleUnit::kStep, .minimum = 1e-6},
      0.1, 3, 10);
  EXPECT_DOUBLE_EQ(s.rate(0, 0), 0.1);
  EXPECT_GT(s.rate(2, 9), 1e-6);
  EXPECT_DOUBLE_EQ(s.rate(3, 0), 1e-6);
  EXPECT_DOUBLE_EQ(s.rate(4, 7), 1e-6);
}

TEST(Schedule, WarmUpRisesStepByStep) {
  const Schedule s(ScheduleOptions{.warmup_epochs = 2}, 1.0, 5, 10);
  EXPECT_DOUBLE_EQ(s.rate(0, 0), 1.0 / 20);
  EXPECT_DOUBLE_EQ(s.rate(1, 4), 15.0 / 20);
  EXPECT_DOUBLE_EQ(s.rate(1, 9), 1.0);
  EXPECT_DOUBLE_EQ(s.rate(2, 0), 1.0);
}

// As torch.optim.lr_scheduler.ReduceLROnPlateau(factor=0.1, patience=1): two bad epochs are waited
// for, the third... lowers.
TEST(Schedule, PlateauLowersAfterPatience) {
  Schedule s(
      ScheduleOptions{
          .kind = ScheduleKind::kPlateau, .minimum = 1e-3, .factor = 0.1, .patience = 1},
      1.0, 9, 1);
  for (const double loss : {1.0, 0.9, 0.9}) s.observe(loss);
  EXPECT_DOUBLE_EQ(s.rate(3, 0), 1.0);
  s.observe(0.95);
  EXPECT_DOUBLE_EQ(s.rate(4, 0), 0.1);
  const auto state = s.state();
  Schedule resumed(
      ScheduleOptions{
          .kind = ScheduleKind::kPlateau, .minimum = 1e-3, .factor = 0.1, .patience = 1},
      1.0, 9, 1);
  resumed.set_state(state);
  for (int i = 0; i < 8; ++i) {
    s.observe(1);
    resumed.observe(1);
  }
  EXPECT_DOUBLE_EQ(s.rate(9, 0), resumed.rate(9, 0));
  EXPECT_DOUBLE_EQ(s.rate(9, 0), 1e-3);
}
