#include <dissent/losses/weight.hpp>

#include "expect_error.hpp"

using namespace dissent;
using namespace dissent::losses;

TEST(LossWeight, IsConstantByDefault) {
  for (const int64_t epoch : {0, 7}) EXPECT_EQ(weight_at({.weight = 0.25}, epoch, 3), 0.25);
}

TEST(LossWeight, IsOnBetweenItsEpochs) {
  const LossWeight w{.weight = 2, .from_epoch = 1, .to_epoch = 3};
  EXPECT_EQ(weight_at(w, 0, 0), 0);
  EXPECT_EQ(weight_at(w, 1, 0), 2);
  EXPECT_EQ(weight_at(w, 2, 0), 2);
  EXPECT_EQ(weight_at(w, 3, 0), 0);
}

TEST(LossWeight, RampsUpFromItsFirstEpoch) {
  const LossWeight w{.weight = 0.2, .from_epoch = 5, .ramp_epochs = 4};
  EXPECT_EQ(weight_at(w, 4, 0), 0);
  EXPECT_EQ(weight_at(w, 5, 9), 0);
  EXPECT_DOUBLE_EQ(weight_at(w, 7, 0), 0.1);
  EXPECT_EQ(weight_at(w, 9, 0), 0.2);
  EXPECT_EQ(weight_at(w, 90, 0), 0.2);
}

TEST(LossWeight, FollowsItsPeriodButInTheEpochsThatHaveEveryStep) {
  const LossWeight w{.period = 3, .every_step_before = 1, .every_step_from = 4};
  for (int64_t step = 0; step < 9; ++step) {
    EXPECT_EQ(weight_at(w, 0, step), 1);
    EXPECT_EQ(weight_at(w, 1, step), step % 3 == 2 ? 1 : 0) << step;
    EXPECT_EQ(weight_at(w, 3, step), step % 3 == 2 ? 1 : 0) << step;
    EXPECT_EQ(weight_at(w, 4, step), 1);
  }
}

TEST(LossWeight, APeriodOfZeroIsAnError) {
  dissent::testing::expect_error(ErrorKind::kUsage,
                                 "weight_at: period: expected 1 or more, found 0",
                                 [] { weight_at({.period = 0}, 0, 0); });
}
