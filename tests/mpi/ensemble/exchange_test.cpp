#include <fmt/format.h>

#include "ensemble/exchange.hpp"

#include "comm/grid.hpp"
#include "expect_error.hpp"
#include "mpi_main.hpp"

using namespace dissent;
using dissent::testing::expect_error;
using dissent::testing::world;

namespace {

constexpr int64_t kMembers = 7, kRows = 11, kWidth = 3;

Part own(int64_t total) { return part_of(total, world().size(), world().rank()); }

at::Tensor numbers(at::ScalarType type = at::kDouble) {
  return at::arange(kMembers * kRows * kWidth, type).view({kMembers, kRows, kWidth});
}

at::Tensor of_own(const at::Tensor& whole, int64_t dim) {
  const Part part = own(whole.size(dim));
  return whole.narrow(dim, part.first, part.count);
}

}  // namespace

TEST(AllMembers, GivesTheWholeInMemberOrder) {
  for (const auto type : {at::kDouble, at::kFloat, at::kLong, at::kInt, at::kByte}) {
    const auto whole = numbers(type);
    EXPECT_TRUE(at::equal(all_members(world(), of_own(whole, 0), kMembers), whole)) << type;
  }
  const auto one_number = at::arange(kMembers, at::kDouble);
  EXPECT_TRUE(at::equal(all_members(world(), of_own(one_number, 0), kMembers), one_number));
  const auto turned = numbers().permute({0, 2, 1});  // not contiguous
  EXPECT_TRUE(at::equal(all_members(world(), of_own(turned, 0), kMembers), turned));
}

TEST(WholeBatch, GivesTheWholeInRowOrder) {
  for (const auto type : {at::kDouble, at::kFloat, at::kLong, at::kInt, at::kByte}) {
    const auto whole = numbers(type);
    EXPECT_TRUE(at::equal(whole_batch(world(), of_own(whole, 1), kRows), whole)) << type;
  }
  const auto labels = at::arange(kRows, at::kLong).unsqueeze(0);
  EXPECT_TRUE(at::equal(whole_batch(world(), of_own(labels, 1), kRows), labels));
}

TEST(WholeBatch, TakesFewerRowsThanRanks) {
  const auto whole = numbers().narrow(1, 0, 1);
  EXPECT_TRUE(at::equal(whole_batch(world(), of_own(whole, 1), 1), whole));
}

// f = sum of w x^3 over the whole; the others' parts are constants, so the derivative is w 3 x^2 of
// the own part, whatever others hold.
TEST(Exchange, BackwardReachesTheOwnPartOnlyAndSendsNothing) {
  const auto whole = numbers() / 100 - 1, weight = at::cos(numbers());
  for (const int64_t dim : {0, 1}) {
    const auto local = of_own(whole, dim).clone().set_requires_grad(true);
    const auto all =
        dim == 0 ? all_members(world(), local, kMembers) : whole_batch(world(), local, kRows);
    EXPECT_TRUE(all.requires_grad() && all.is_contiguous());
    const auto gradient = torch::autograd::grad({(weight * all.pow(3)).sum()}, {local})[0];
    EXPECT_TRUE(at::equal(gradient, of_own(weight, dim) * (of_own(whole, dim).pow(2) * 3)));
    EXPECT_FALSE((dim == 0 ? all_members(world(), local.detach(), kMembers)
                           : whole_batch(world(), local.detach(), kRows))
                     .requires_grad());
  }
}

// The last rank is wrong; every rank says so, and the group is in step afterwards.
TEST(Exchange, PartsThatDoNotFitAreAnErrorOfEveryRank) {
  const int last = world().size() - 1;
  const bool wrong = world().rank() == last;
  const auto member_error = [&](const at::Tensor& bad, const std::string& given) {
    expect_error(ErrorKind::kUsage, given, [&] {
      all_members(world(), wrong ? bad : of_own(numbers(), 0), kMembers, "logits");
    });
    EXPECT_TRUE(at::equal(all_members(world(), of_own(numbers(), 0), kMembers), numbers()));
  };
  const auto good = of_own(numbers(), 0);
  const auto count = good.size(0);
  member_error(
      numbers().narrow(0, 0, own(kMembers).count + 1 <= kMembers ? own(kMembers).count + 1 : 1),
      fmt::format("all_members: logits: rank {}: expected [", last));
  if (last == 0) return;
  const auto last_count = part_of(kMembers, world().size(), last).count;
  const auto wanted = fmt::format(
      "all_members: logits: rank {}: expected [{}, 11, 3] Double cpu of 7 members x any number of "
      "rows, found ",
      last, last_count);
  member_error(good.narrow(2, 0, 2), wanted + fmt::format("[{}, 11, 2] Double", last_count));
  member_error(good.to(at::kFloat), wanted + fmt::format("[{}, 11, 3] Float", last_count));
  member_error(good.reshape({count, -1}), wanted + fmt::format("[{}, 33] Double", last_count));
  member_error({}, wanted + "nothing");
  expect_error(
      ErrorKind::kUsage,
      fmt::format("of 7 members x any number of rows, found [{}, 11, 3] Double cpu of 8 members",
                  last_count),
      [&] { all_members(world(), good, wrong ? 8 : 7); });
  const auto rows = of_own(numbers(), 1);
  expect_error(
      ErrorKind::kUsage, fmt::format("whole_batch: features: rank {}: expected [7, ", last),
      [&] { whole_batch(world(), wrong ? rows.narrow(0, 0, 6) : rows, kRows, "features"); });
  expect_error(
      ErrorKind::kUsage, fmt::format("whole_batch: features: rank {}: expected [7, ", last), [&] {
        whole_batch(world(), wrong ? rows.narrow(1, 1, rows.size(1) - 1) : rows, kRows, "features");
      });
  expect_error(ErrorKind::kUsage,
               "whole_batch: labels: rank 0: expected a tensor of 2 .. 8 dimensions, found [",
               [&] { whole_batch(world(), at::arange(own(kRows).count), kRows, "labels"); });
}
