#include <cmath>

#include <dissent/scores/neighbours.hpp>

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "core/parallel.hpp"
#include "scores/nearest.hpp"
#include "tensors.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

using dissent::testing::largest;

// All squared distances in f64 by differences, sorted; a zero row is at distance 1 from those that
// are not.
at::Tensor sorted_distances(const at::Tensor& rows, const at::Tensor& bank) {
  const auto unit = [](const at::Tensor& x) {
    const auto norm = x.to(at::kDouble).norm(2, {1}, true);
    return x.to(at::kDouble) / norm.masked_fill(norm.eq(0), 1);
  };
  return std::get<0>(at::cdist(unit(rows), unit(bank), 2.0, 2).square().sort(1));
}

// 3000 rows around 10 centres: copies, copies that are longer, rows that differ in their last bits,
// zeros.
struct MadeBank {
  static constexpr int64_t kRows = 3000, kDimension = 96;
  at::Tensor bank = clusters(kRows, 1), rows = clusters(60, 2);

  MadeBank() {
    for (int64_t i = 0; i < 300; ++i)
      bank[1000 + i] = bank[i % 7] * std::pow(1.5, static_cast<double>(i % 5));
    for (int64_t i = 0; i < 300; ++i)
      bank[2000 + i] =
          bank[5] * (1 + made_logits(1, 1, kDimension, 1e-7, 100 + i)[0][0]).to(at::kFloat);
    for (int64_t i = 0; i < 20; ++i) bank[2500 + 3 * i] = 0;
    rows[0] = bank[5];
    rows[1] = bank[3] * 7;
    rows[2] = 0;
    rows[3] = bank[40] * 1e-20;
    rows[4] = bank[41] * 1e20;
  }
  static at::Tensor clusters(int64_t count, uint64_t seed) {
    const auto centres = made_logits(1, 10, kDimension, 3.0, 9)[0];
    return (centres.index_select(0, at::arange(count, at::kLong).remainder(10)) +
            made_logits(1, count, kDimension, 1.0, seed)[0])
        .to(at::kFloat);
  }
};

}  // namespace

TEST(Nearest, EqualsAllDistancesWithTiesCopiesAndZeros) {
  const MadeBank made;
  const auto sorted = sorted_distances(made.rows, made.bank);
  for (const int64_t k : {1, 7, 50, 299, 1500, 2979, 2981, 2999, 3000})
    for (const auto dtype : {at::kFloat, at::kDouble})
      // By differences, a distance d is off by about 100 roundings of d.
      EXPECT_LT(largest(kth_distances(made.rows.to(at::kDouble), made.bank.to(dtype), k, 256) -
                        sorted.select(1, k - 1)),
                1e-14)
          << k;
}

TEST(Nearest, SmallDistancesKeepTheirDigits) {
  const MadeBank made;
  const auto rows = made.rows.narrow(0, 0, 1).to(
      at::kDouble);  // 300 rows at about 1e-14: products in f32 are all 1
  const auto sorted = sorted_distances(rows, made.bank);
  for (const int64_t k : {100, 250, 300}) {
    const double wanted = sorted[0][k - 1].item<double>();
    EXPECT_GT(wanted, 0);
    EXPECT_LT(wanted, 1e-12);
    EXPECT_NEAR(kth_distances(rows, made.bank, k, 512).item<double>() / wanted, 1, 1e-6)
        << k;  // a value's rounding, 1e-16, over a difference of 1e-8
  }
}

TEST(Nearest, SameBitsForAnyBlocksThreadsAndSplit) {
  const MadeBank made;
  const auto rows = made.rows.to(at::kDouble);
  const auto whole = kth_distances(rows, made.bank, 50, 1024);
  for (const int threads : {1, 2, 3})
    for (const int64_t block : {1, 37, 500, 4000}) {
      set_threads(threads);
      EXPECT_TRUE(at::equal(kth_distances(rows, made.bank, 50, block), whole))
          << threads << " " << block;
    }
  set_threads(1);
  for (int64_t row = 0; row < rows.size(0); ++row)
    EXPECT_TRUE(at::equal(kth_distances(rows.narrow(0, row, 1), made.bank, 50, 1024),
                          whole.narrow(0, row, 1)));
  parallel_tasks(2, [&](int64_t) {
    EXPECT_TRUE(at::equal(kth_distances(rows, made.bank, 50, 128), whole));
  });                                                  // within a task: on one thread
  const auto copied = made.bank.t().contiguous().t();  // not contiguous
  EXPECT_TRUE(at::equal(kth_distances(rows, copied, 50, 128), whole));
}

TEST(Nearest, AChoiceByRoughProductsIsNotTaken) {
  const MadeBank made;
  const auto rows = made.rows.to(at::kDouble), whole = kth_distances(rows, made.bank, 50, 1024);
  at::globalContext().setFloat32MatmulPrecision("medium");  // products of 8 bits
  const auto rough = kth_distances(rows, made.bank, 50, 1024);
  at::globalContext().setFloat32MatmulPrecision("highest");
  EXPECT_TRUE(at::equal(rough, whole));
}

TEST(Nearest, ErrorOfProductsIsWithinTheBound) {
  // What the choice rests on: f32 products of unit vectors, here all of one sign, where errors add
  // up most.
  for (const int64_t d : {16, 384, 768, 4096}) {
    const auto unit = [&](uint64_t seed) {
      const auto x = made_logits(1, 200, d, 1.0, seed)[0].abs();
      return x / x.norm(2, {1}, true);
    };
    const auto a = unit(1), b = unit(2);
    EXPECT_LT(
        largest(at::mm(a.to(at::kFloat), b.to(at::kFloat).t()).to(at::kDouble) - at::mm(a, b.t())),
        (static_cast<double>(d) + 2) * 0x1p-24)
        << d;
  }
}

TEST(Nearest, MemoryOfManyNeighboursIsThatOfBlocks) {
  // 2000 samples x 2000 neighbours would be 32 MB: samples go through block_rows^2 / k at a time.
  FitData data;
  data.train.features = MadeBank::clusters(2000, 1);
  const auto h = MadeBank::clusters(2000, 2);
  const auto score = score_knn(fit_knn(data, {2000, 100}), h, {});
  EXPECT_LT(largest(score.neg() - sorted_distances(h, data.train.features).select(1, 1999)), 1e-14);
}
