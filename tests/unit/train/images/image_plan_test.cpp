// Batches of image ensembles: orders, streams, wrapping, balance.
#include "train/images/image_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include <dissent/error.hpp>

using namespace dissent;

namespace {

ImagePlanOptions small() {
  ImagePlanOptions options;
  options.seed = 5;
  options.rows = 23;
  options.batch_size = 4;
  options.members = 3;
  return options;
}

std::vector<int64_t> whole(const ImageEpoch& epoch, int64_t member) {
  std::vector<int64_t> rows;
  for (int64_t b = 0; b < epoch.batches(); ++b) {
    const auto batch = epoch.rows(member, b);
    rows.insert(rows.end(), batch.begin(), batch.end());
  }
  return rows;
}

TEST(ImagePlan, EveryMemberSeesEachRowOnceInAnOrderOfItsOwn) {
  const auto options = small();
  const ImageEpoch epoch(options, 2), next(options, 3);
  EXPECT_EQ(epoch.batches(), 6);
  EXPECT_EQ(epoch.rows(0, 5).size(), 3u);
  std::set<std::vector<int64_t>> orders;
  for (int64_t member = 0; member < 3; ++member) {
    auto rows = whole(epoch, member);
    orders.insert(rows);
    EXPECT_NE(rows, whole(next, member));
    std::sort(rows.begin(), rows.end());
    std::vector<int64_t> all(23);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(rows, all);
  }
  EXPECT_EQ(orders.size(), 3u);
}

TEST(ImagePlan, SameBatchIsOneOrderAndOneStream) {
  auto options = small();
  options.same_batch = true;
  const ImageEpoch epoch(options, 0);
  EXPECT_EQ(whole(epoch, 0), whole(epoch, 2));
  EXPECT_EQ(epoch.stream(0), epoch.stream(2));
}

TEST(ImagePlan, StreamsOfMembersEpochsAndTheUnlabelledSetAreApart) {
  const auto options = small();
  std::set<uint64_t> streams;
  for (int64_t e = 0; e < 4; ++e) {
    const ImageEpoch epoch(options, e);
    for (int64_t member = 0; member < 3; ++member) streams.insert(epoch.stream(member));
    streams.insert(epoch.unlabelled_stream());
  }
  EXPECT_EQ(streams.size(), 16u);
}

TEST(ImagePlan, DroppedLastBatchAndAccumulation) {
  auto options = small();
  options.drop_last = true;
  options.accumulation = 2;
  EXPECT_EQ(ImageEpoch(options, 0).batches(), 5);
  EXPECT_EQ(ImageEpoch(options, 0).steps(), 3);
  options.batch_size = 30;
  EXPECT_THROW(ImageEpoch(options, 0).batches(), Error);
}

TEST(ImagePlan, UnlabelledRowsWrapRound) {
  auto options = small();
  options.unlabelled_rows = 7;
  options.unlabelled_batch = 5;
  const ImageEpoch epoch(options, 0);
  std::vector<int64_t> counts(7, 0);
  for (int64_t b = 0; b < 7; ++b)
    for (const auto row : epoch.unlabelled_rows(b)) ++counts[row];
  EXPECT_EQ(counts, std::vector<int64_t>(7, 5));
  EXPECT_TRUE(ImageEpoch(small(), 0).unlabelled_rows(0).size() == 0);
}

TEST(ImagePlan, EveryMemberIsDrawn) {
  const auto options = small();
  std::vector<int64_t> counts(3, 0);
  for (int64_t e = 0; e < 100; ++e)
    for (int64_t b = 0; b < 6; ++b) ++counts[ImageEpoch(options, e).drawn_member(b)];
  for (const auto count : counts)
    EXPECT_NEAR(static_cast<double>(count), 200, 60);  // five deviations of a binomial of 600 draws
}

TEST(ImagePlan, BalancedBatchesDifferBetweenMembersAndEpochs) {
  auto options = small();
  options.samples_per_class = 2;
  for (int64_t c = 0; c < 4; ++c) {
    options.rows_of_classes.emplace_back();
    for (int64_t row = c; row < 23; row += 4) options.rows_of_classes.back().push_back(row);
  }
  const ImageEpoch epoch(options, 0), next(options, 1);
  EXPECT_EQ(epoch.batches(), 5);
  std::set<std::vector<int64_t>> batches;
  for (int64_t member = 0; member < 3; ++member) {
    const auto rows = epoch.rows(member, 1);
    EXPECT_EQ(rows.size(), 4u);
    EXPECT_EQ(rows[0] % 4, rows[1] % 4);
    EXPECT_EQ(rows[2] % 4, rows[3] % 4);
    EXPECT_NE(rows[0] % 4, rows[2] % 4);
    batches.insert(whole(epoch, member));
    batches.insert(whole(next, member));
  }
  EXPECT_EQ(batches.size(), 6u);
}

}  // namespace
