#include <string>
#include <vector>

#include "train/cost/image_cost.hpp"

#include <gtest/gtest.h>

#include "train/cost/image_calibration.hpp"

using namespace dissent;

namespace {

ImageTrainConfig lenets(std::vector<std::string> losses, bool same_batch = false) {
  ImageTrainConfig config;
  config.ensemble.members = 5;
  config.data.batch_size = 12;
  config.data.same_batch = same_batch;
  config.training.accumulation = 3;
  config.optimizer.kind = OptimizerKind::kSgd;
  config.optimizer.momentum = 0.9;
  for (size_t i = 0; i < config.losses.size(); ++i)
    if (std::find(losses.begin(), losses.end(), losses::loss_table()[i].name) != losses.end())
      config.losses[i].present = true;
  return config;
}

ImageRunShape shape(const ImageTrainConfig& config) {
  auto run = image_run_shape(config, 10, 100, 40, 0);
  count_passes(run);
  return run;
}

}  // namespace

TEST(ImageCost, BatchesAreThoseOfTheTraining) {
  auto config = lenets({"cross_entropy"});
  EXPECT_EQ(shape(config).batches, 9);  // 8 of 12 images, one of 4
  config.data.drop_last = true;
  EXPECT_EQ(shape(config).batches, 8);
  EXPECT_FALSE(image_run_shape(config, 10, {}, {}, 0).batches.has_value());
}

TEST(ImageCost, WithoutLossesBetweenMembersOnlyGradientsAreSent) {
  const auto run = shape(lenets({"cross_entropy"}));
  const auto split = image_step_cost(run, {1, 5, 1}), parts = image_step_cost(run, {1, 1, 4});
  EXPECT_EQ(split.images, 3 * 12);
  EXPECT_EQ(split.exchange_bytes, 0);
  EXPECT_EQ(split.reduce_bytes, 0);
  EXPECT_EQ(parts.images, 3 * 5 * 3);
  EXPECT_EQ(parts.reduce_bytes, 2.0 * 3 / 4 * 5 * static_cast<double>(run.flat()) * 4);
}

TEST(ImageCost, LossesReceiveAllButTheirOwn) {
  // Logits of 5 members x 12 images x 10 classes, three batches; a rank of 2 x 2 has a quarter.
  const auto ncl = shape(lenets({"cross_entropy", "ncl"}, true));
  EXPECT_EQ(image_step_cost(ncl, {1, 2, 2}).exchange_bytes, 3 * 4 * 5 * 12 * 10 * 0.75);
  EXPECT_EQ(image_step_cost(ncl, {1, 1, 1}).exchange_bytes, 0);
  EXPECT_EQ(image_step_cost(ncl, {1, 1, 1}).images, 3 * 5 * 12);
  // Saliency maps instead, and a second pass.
  const auto gradcam = shape(lenets({"cross_entropy", "gradcam"}));
  ASSERT_GT(gradcam.map_pixels, 0);
  EXPECT_EQ(image_step_cost(gradcam, {1, 5, 1}).exchange_bytes,
            3.0 * 4 * 5 * 12 * static_cast<double>(gradcam.map_pixels) * 0.8);
  EXPECT_EQ(image_step_cost(gradcam, {1, 5, 1}).images, 2 * 3 * 12);
}

TEST(ImageCost, MemoryGrowsWithMembersAndImages) {
  auto config = lenets({"cross_entropy", "gradcam"});
  const auto run = shape(config);
  const auto one = image_memory_cost(run, {1, 5, 1}, 1), all = image_memory_cost(run, {1, 1, 1}, 1);
  EXPECT_EQ(all.parameters, 5 * one.parameters);
  EXPECT_EQ(one.optimizer, run.flat() * 4);  // momentum
  EXPECT_EQ(one.gradients, 3 * run.flat() * 4);
  EXPECT_EQ(all.saliency, 5 * one.saliency);
  EXPECT_GT(run.derivative.image, 0);
  EXPECT_GT(run.training.image,
            3 * 28 * 28 * 4);  // the first layer alone keeps more than its input
  config.training.ema_decay = 0.9;
  EXPECT_EQ(image_memory_cost(shape(config), {1, 5, 1}, 1).parameters, 2 * one.parameters);
  EXPECT_GT(image_memory_cost(run, {1, 1, 1}, 5).activations,
            all.activations);  // more passes at a time
}

TEST(ImageCost, EpochFollowsFromItsParts) {
  const auto run = shape(lenets({"cross_entropy"}));
  const auto alone = image_time_cost(
      run, {}, 2, {.batch_s = 2, .update_s = 1, .image_s = 0.01, .validation_s = 7}, {}, 0);
  EXPECT_DOUBLE_EQ(alone.reading_s, 3 * 5 * 12 * 0.01);
  EXPECT_DOUBLE_EQ(alone.step_s, 3 * 2 + 1.8 + 1);
  EXPECT_DOUBLE_EQ(*alone.epoch_s, 8.8 * 3 + 7);
  EXPECT_DOUBLE_EQ(*alone.total_s, 2 * *alone.run_s);
  EXPECT_DOUBLE_EQ(
      image_time_cost(run, {}, 2, {.batch_s = 2, .update_s = 1, .image_s = 0.01, .validation_s = 7},
                      {}, 2)
          .step_s,
      3 * 2 + 1);  // read meanwhile
}

TEST(ImageCost, BestGridGivesEachRankTheSameWork) {
  const auto run = shape(lenets({"cross_entropy"}));
  const auto five = best_image_grid(run, 5, 1, 1, {});
  ASSERT_TRUE(five);
  EXPECT_EQ(five->members, 5);
  const auto runs = best_image_grid(run, 4, 4, 1, {});
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs->runs, 4);
  EXPECT_FALSE(best_image_grid(run, 1000, 1, 1, {}));
}
