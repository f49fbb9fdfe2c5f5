#include <cmath>
#include <vector>

#include <dissent/scores/neighbours.hpp>

#include "core/parallel.hpp"
#include "expect_error.hpp"
#include "scores/top_k.hpp"
#include "tensors.hpp"
#include "unit/losses/peak_memory.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

using dissent::testing::largest;
at::Tensor unit(const at::Tensor& rows) { return rows / rows.norm(2, {1}, true); }

// Bank of directions in the plane, in degrees.
FitData directions(std::vector<double> degrees, double length = 3) {
  const auto angle = at::tensor(degrees, at::kDouble) * (M_PI / 180);
  FitData data;
  data.train.features = at::stack({angle.cos(), angle.sin()}, 1) * length;
  data.train.logits = at::zeros({angle.size(0), 2}, at::kDouble);
  return data;
}
double chord(double degrees) { return 4 * std::pow(std::sin(degrees * M_PI / 360), 2); }  // squared

}  // namespace

TEST(TopK, EqualsSortedValuesForAnyBlocks) {
  const auto values = made_logits(1, 6, 101)[0].mul(3).round();  // with ties
  for (const int64_t k : {1, 5, 101})
    for (const int64_t block : {1, 13, 101}) {
      TopK top(6, k, at::kCPU);
      for (const auto& part : values.split(block, 1)) top.update(part);
      EXPECT_TRUE(
          at::equal(std::get<0>(top.values().sort(1, true)), std::get<0>(values.topk(k, 1))))
          << k << " " << block;
    }
  TopK few(1, 3, at::kCPU);
  few.update(at::ones({1, 2}, at::kDouble));
  EXPECT_EQ(few.values().isinf().sum().item<int64_t>(), 1);
}

TEST(Knn, ClosedFormOnDirections) {
  const auto data = directions({0, 10, 30, 90});
  const auto h = directions({0}, 0.5).train.features;
  const std::vector<double> expected = {0, chord(10), chord(30), chord(90)};
  for (int64_t k = 1; k <= 4; ++k)
    EXPECT_NEAR(score_knn(fit_knn(data, {k}), h, {}).item<double>(), -expected[k - 1], 1e-15) << k;
}

TEST(Knn, EqualsAllDistancesSorted) {
  const MadeFeatures made;
  const auto distances =
      at::cdist(unit(made.test.features), unit(made.train.features), 2.0, 2).square();
  for (const int64_t k : {1, 17, 150}) {
    const auto expected = std::get<0>(distances.sort(1)).select(1, k - 1).neg();
    for (const int64_t block : {1, 7, 64, 1024})
      EXPECT_LT(
          largest(score_knn(fit_knn(made.data(), {k, block}), made.test.features, {}) - expected),
          1e-14);
  }
}

TEST(Knn, NearNeighboursKeepTheirDigitsInSinglePrecision) {
  FitData data;
  data.train.features = at::tensor({1.0f, 1e-4f}).view({1, 2});
  EXPECT_NEAR(
      score_knn(fit_knn(data, {1}), at::tensor({1.0f, 0.0f}).view({1, 2}), {}).item<double>() /
          -1e-8,
      1, 1e-6);  // products in f32 would give 0
}

TEST(Knn, AZeroFeatureIsAtDistanceOneFromAll) {
  auto data = directions({0, 10, 30, 90});
  const auto zero = at::zeros({1, 2}, at::kDouble);
  for (int64_t k = 1; k <= 4; ++k)
    EXPECT_NEAR(score_knn(fit_knn(data, {k}), zero, {}).item<double>(), -1, 1e-15);
  data.train.features[0] = 0;  // in the bank
  EXPECT_EQ(score_knn(fit_knn(data, {1}), zero, {}).item<double>(), 0);
  EXPECT_NEAR(score_knn(fit_knn(data, {4}), directions({10}).train.features, {}).item<double>(),
              -chord(80), 1e-15);
}

TEST(Knn, MoreNeighboursThanSamplesAreAnError) {
  const auto data = directions({0, 10, 30});
  expect_error(ErrorKind::kUsage, "knn: k: expected 1 .. 3 (rows of the bank), found 50",
               [&] { fit_knn(data); });
  expect_error(ErrorKind::kUsage, "nnguide: k: expected 1 .. 3 (rows of the bank), found 100",
               [&] { fit_nnguide(data); });
  expect_error(ErrorKind::kUsage, "knn: block_rows: expected 1 or more",
               [&] { fit_knn(data, {1, 0}); });
}

// 16 GB of distances if they were all held.
TEST(Knn, MemoryIsThatOfBlocksFor100000Against20000) {
  const int64_t d = 64, bank_rows = 100000, queries = 20000, k = 50, block = 1024;
  FitData data;
  data.train.features = made_logits(1, bank_rows, d, 1.0, 1)[0].to(at::kFloat);
  const auto h = made_logits(1, queries, d, 1.0, 2)[0].to(at::kFloat);
  PeakMemory memory;
  const auto state = fit_knn(data, {k, block});
  const auto score = score_knn(state, h, {});
  // One block of products, its rows of both sides as they are changed to unit length, k values a
  // row, the scores: f64.
  EXPECT_LT(memory.peak(), 8 * (block * block + 8 * block * d + 2 * block * k + 2 * queries));
  const auto few = at::cdist(unit(h.narrow(0, 0, 4).to(at::kDouble)),
                             unit(data.train.features.to(at::kDouble)), 2.0, 2)
                       .square();
  EXPECT_LT(largest(score.narrow(0, 0, 4) + std::get<0>(few.kthvalue(k, 1))), 1e-14);
}

TEST(Nnguide, EqualsThePlainFormula) {
  const MadeFeatures made;
  const NnguideOptions options{.k = 9, .alpha = 0.5, .batch_rows = 40};
  const auto state = fit_nnguide(made.data(), options);
  EXPECT_EQ(state.at("bank").size(0), 80);  // whole batches until more than int(0.5 150) = 75
  const auto bank = (unit(made.train.features) + 1e-10) * made.train.logits.logsumexp(1, true);
  const auto likeness = at::mm(unit(made.test.features) + 1e-10, bank.narrow(0, 0, 80).t());
  const auto expected = std::get<0>(likeness.topk(9, 1)).mean(1) * made.test.logits.logsumexp(1);
  EXPECT_LT(largest(score_nnguide(state, made.test.features, made.test.logits) - expected), 1e-12);
  EXPECT_EQ(fit_nnguide(made.data(), {.k = 9, .alpha = 1}).at("bank").size(0), 150);
  EXPECT_EQ(fit_nnguide(made.data(), {.k = 2, .alpha = 0.01, .batch_rows = 1}).at("bank").size(0),
            2);  // int(1.5) + 1
  expect_error(ErrorKind::kUsage, "nnguide: alpha: expected a number above 0 and at most 1",
               [&] { fit_nnguide(made.data(), {.alpha = 0}); });
}

TEST(Relation, LeavesOutSmallEdgesBeforeThePower) {
  auto data = directions({0, 60, 180});
  data.train.logits = at::zeros({3, 2}, at::kDouble);  // <p, p_t> = 1/2
  const auto h = directions({0}).train.features, z = at::zeros({1, 2}, at::kDouble);
  const auto score = [&](double power, double threshold) {
    return score_relation(fit_relation(data, {power, threshold}), h, z).item<double>();
  };
  EXPECT_NEAR(score(1, 0.03), 0.5 + 0.25, 1e-9);
  EXPECT_NEAR(score(2, 0.03), 0.25 + 0.0625, 1e-9);
  EXPECT_NEAR(score(2, 0.3), 0.25, 1e-9);
  EXPECT_EQ(score(1, 0.6), 0);
  expect_error(ErrorKind::kUsage, "relation: power: expected a number above 0",
               [&] { fit_relation(data, {0, 0}); });
}

TEST(Cfood, CountsWhoseNeighbourhoodHoldsTheSample) {
  // 200 directions around the circle: a row's neighbour number n is ceil(n / 2) steps away.
  std::vector<double> degrees;
  for (int i = 0; i < 200; ++i) degrees.push_back(1.8 * i);
  const auto state = fit_cfood(directions(degrees), {.alpha = 1, .k = 0.05});
  EXPECT_EQ(state.at("bank").size(0), 200);
  EXPECT_EQ(state.at("kpos")[0].item<int64_t>(), 0);
  // Half a step from a row: ten rows lie within 4.5 steps; a row's 8th neighbour is at 4 steps,
  // its 9th at 5. trunc(200 f - 1) + 1 = 9 from f = 0.045.
  const auto beside = directions({0.9}).train.features;
  EXPECT_NEAR(score_cfood(state, beside, {}).item<double>(), -0.045, 1e-12);
  EXPECT_EQ(
      score_cfood(fit_cfood(directions(degrees), {.alpha = 1, .k = 0}), beside, {}).item<double>(),
      -0.001);
}

TEST(Cfood, ATrainingRowTiesWithItself) {
  const MadeFeatures made;
  const auto state = fit_cfood(made.data(), {.alpha = 1, .k = 0.02});
  const auto score = score_cfood(state, made.train.features, {});
  // Count by plain comparison of the very distances that the state was made of.
  const auto x = made.train.features / (made.train.features.norm(2, {1}, true) + 1e-10);
  const auto distances = at::cdist(x, x, 2.0, 2);
  const auto table = std::get<0>(distances.sort(1)).index_select(1, state.at("kpos") + 1);
  for (int64_t n = 0; n < 150; n += 11) {
    const auto share = table.ge(distances.select(1, n).unsqueeze(1)).sum(0).to(at::kDouble) / 150.0;
    const auto first = share.ge(0.02).to(at::kLong).argmax(0);
    EXPECT_EQ(score[n].item<double>(), -state.at("kval")[first].item<double>()) << n;
    EXPECT_EQ(score_cfood(state, made.train.features.narrow(0, n, 1), {}).item<double>(),
              score[n].item<double>())
        << n;
  }
}

TEST(Cfood, TheReferenceSetIsGivenOrDrawnBySeed) {
  const MadeFeatures made;
  auto data = made.data();
  data.order = at::arange(149, -1, -1, at::kLong);
  EXPECT_TRUE(at::equal(fit_cfood(data, {.alpha = 0.1}).at("bank"),
                        made.train.features.index_select(0, data.order.narrow(0, 0, 15))));
  const auto drawn = [&](int64_t seed) {
    return fit_cfood(made.data(), {.alpha = 0.1, .seed = seed}).at("bank");
  };
  EXPECT_TRUE(at::equal(drawn(1), drawn(1)));
  EXPECT_FALSE(at::equal(drawn(1), drawn(2)));
  expect_error(ErrorKind::kUsage,
               "cfood: alpha: expected a reference set of 2 rows or more, found 1 of 150",
               [&] { fit_cfood(made.data(), {.alpha = 0.01}); });
  expect_error(ErrorKind::kUsage, "cfood: k: expected a number in 0 .. 1",
               [&] { fit_cfood(made.data(), {.k = 2}); });
  data.order = data.order.narrow(0, 0, 100);
  expect_error(ErrorKind::kUsage, "cfood: order: expected [150] Long",
               [&] { fit_cfood(data, {.alpha = 0.1}); });
}
