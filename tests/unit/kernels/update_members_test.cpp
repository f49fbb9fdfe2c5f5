#include "kernels/update_members.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "cuda_shim.hpp"
#include "expect_error.hpp"
#include "kernels/update_members_body.hpp"
#include "update_cases.hpp"

using namespace dissent;
using namespace dissent::testing;
using kernels::UpdateOptions;

namespace {

float* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

// What launch_update_members starts, on the CPU.
void run_update_kernels(const UpdateOptions& options, const UpdateCase& stack) {
  std::vector<kernels::MemberNumbers> members(stack.slots.numel());
  const kernels::UpdateArrays arrays{.values = pointer(stack.values()),
                                     .first = pointer(stack.first()),
                                     .second = pointer(stack.second()),
                                     .steps = stack.steps.const_data_ptr<float>(),
                                     .slots = stack.slots.const_data_ptr<int64_t>(),
                                     .gradient = stack.gradient.const_data_ptr<float>(),
                                     .rates = stack.rates.const_data_ptr<double>(),
                                     .scales = stack.scales.const_data_ptr<double>(),
                                     .members = members.data(),
                                     .count = stack.slots.numel(),
                                     .size = stack.gradient.size(1)};
  run_kernel(kernels::prepare_members_kernel,
             {static_cast<unsigned>(kernels::prepare_blocks(arrays.count))},
             {kernels::kPrepareThreads}, options.beta1, options.beta2, arrays);
  run_kernel(kernels::update_members_kernel,
             {static_cast<unsigned>(kernels::update_blocks(arrays.size)),
              static_cast<unsigned>(arrays.count)},
             {kernels::kUpdateThreads}, kernels::update_numbers(options), arrays);
}

void expect_same(const at::Tensor& a, const at::Tensor& b, const char* name) {
  ASSERT_EQ(a.defined(), b.defined()) << name;
  if (a.defined()) {
    EXPECT_TRUE(at::equal(a, b)) << name;
  }
}

// 16 .. 2,048 elements: less than a block's 1,024, a whole number of them, one and a rest.
constexpr std::array<int64_t, 6> kSizes{16, 1008, 1024, 1040, 2048, 2064};

}  // namespace

// The bodies of the kernels and the plain loop are the same function of the same host: no bit may
// differ, and neither writes to other members or beyond the stack.
TEST(UpdateMembers, KernelsHaveTheBitsOfThePlainLoop) {
  for (const auto& [name, options] : update_rules())
    for (const int64_t size : kSizes) {
      SCOPED_TRACE(fmt::format("{}, P = {}", name, size));
      const auto start = update_case(options, size);
      const auto loop = start.copy(), kernel = start.copy();
      for (int repeat = 0; repeat < 3; ++repeat) {
        loop.update(options);
        run_update_kernels(options, kernel);
      }
      expect_same(kernel.values_all, loop.values_all, "values");
      expect_same(kernel.first_all, loop.first_all, "first");
      expect_same(kernel.second_all, loop.second_all, "second");
      for (const int64_t row : {0, 1, 2, 4, 7}) {  // the ends, slots 0 (skipped), 1 and 3
        EXPECT_TRUE(at::equal(kernel.values_all[row], start.values_all[row])) << row;
        if (start.first_all.defined()) {
          EXPECT_TRUE(at::equal(kernel.first_all[row], start.first_all[row])) << row;
        }
        if (start.second_all.defined()) {
          EXPECT_TRUE(at::equal(kernel.second_all[row], start.second_all[row])) << row;
        }
      }
      for (const int64_t row : {3, 5, 6})
        EXPECT_TRUE(kernel.values_all[row].ne(start.values_all[row]).any().item<bool>()) << row;
    }
}

// A moment that the rule has no use for comes out as it went in.
TEST(UpdateMembers, KernelsLeaveOtherMomentsAlone) {
  for (const auto& [name, options] : update_rules()) {
    SCOPED_TRACE(name);
    const auto start = update_case(options, 1040);
    const UpdateCase with_all(1040, true, true);
    const auto expected = start.copy(), given = with_all.copy();
    expected.update(options);
    run_update_kernels(options, given);
    expect_same(given.values_all, expected.values_all, "values");
    expect_same(given.first_all,
                start.first_all.defined() ? expected.first_all : with_all.first_all, "first");
    expect_same(given.second_all,
                start.second_all.defined() ? expected.second_all : with_all.second_all, "second");
  }
}

// The formulas of train/update/optimizer.hpp in f64.
TEST(UpdateMembers, FollowsTheFormulas) {
  using Rule = kernels::UpdateRule;
  constexpr double kRounding = 8 * 1.2e-7;  // a few roundings of f32, of the largest element
  for (const auto& [name, o] : update_rules()) {
    SCOPED_TRACE(name);
    const auto start = update_case(o, 64), found = start.copy();
    found.update(o);
    for (const int64_t i : {0, 2, 3}) {
      const auto slot = start.slots[i].item<int64_t>();
      const auto rate = start.rates[i].item<double>(), t = start.steps[slot].item<double>();
      auto p = start.values()[slot].to(at::kDouble);
      auto g = start.gradient[i].to(at::kDouble) * start.scales[i].item<double>();
      if (o.rule == Rule::kAdamW)
        p = p * (1 - rate * o.weight_decay);
      else
        g = g + o.weight_decay * p;
      if (o.rule == Rule::kAdamW || o.rule == Rule::kAdam) {
        const auto m = o.beta1 * start.first()[slot].to(at::kDouble) + (1 - o.beta1) * g;
        const auto v = o.beta2 * start.second()[slot].to(at::kDouble) + (1 - o.beta2) * g * g;
        p = p - rate * (m / (1 - std::pow(o.beta1, t))) /
                    ((v / (1 - std::pow(o.beta2, t))).sqrt() + o.epsilon);
      } else if (o.rule == Rule::kPlain) {
        p = p - rate * g;
      } else {
        const auto v = o.momentum * start.first()[slot].to(at::kDouble) + g;
        p = p - rate * (o.rule == Rule::kNesterov ? g + o.momentum * v : v);
      }
      EXPECT_LT((found.values()[slot] - p).abs().max().item<double>(),
                kRounding * p.abs().max().item<double>())
          << slot;
    }
  }
}

TEST(UpdateMembers, RefusesTensorsThatDoNotFit) {
  const auto adamw = update_rules()[0].options, plain = update_rules()[4].options;
  const auto refused = [&](const UpdateOptions& options, const std::string& text, auto change) {
    auto stack = update_case(options, 32);
    change(stack);
    expect_error(ErrorKind::kInternal, "update_members: " + text, [&] { stack.update(options); });
  };
  refused(adamw, "values: expected [m, P] with P a multiple of 4, found [6] Float cpu",
          [](auto& s) { s.values_all = at::zeros({8}); });
  refused(adamw, "values: expected [m, P] with P a multiple of 4, found [6, 30] Float cpu",
          [](auto& s) { s.values_all = at::zeros({8, 30}); });
  refused(adamw, "values: expected [6, 32] Float cpu, found [6, 32] Double cpu",
          [](auto& s) { s.values_all = s.values_all.to(at::kDouble); });
  refused(adamw, "values: expected contiguous memory, found strides [1, 8]",
          [](auto& s) { s.values_all = s.values_all.t().contiguous().t(); });
  refused(adamw, "first: expected [6, 32] Float cpu, found nothing",
          [](auto& s) { s.first_all.reset(); });
  refused(adamw, "second: expected [6, 32] Float cpu, found [6, 28] Float cpu",
          [](auto& s) { s.second_all = at::zeros({8, 28}); });
  refused(
      plain,
      "first: expected an undefined tensor (this rule has no such state), found [6, 32] Float cpu",
      [](auto& s) { s.first_all = at::zeros({8, 32}); });
  refused(adamw, "steps: expected [6] Float cpu, found [6] Double cpu",
          [](auto& s) { s.steps = s.steps.to(at::kDouble); });
  refused(adamw, "slots: expected [4] Long cpu, found [4] Int cpu",
          [](auto& s) { s.slots = s.slots.to(at::kInt); });
  refused(adamw, "gradient: expected [4, 32] Float cpu, found [3, 32] Float cpu",
          [](auto& s) { s.gradient = s.gradient.narrow(0, 0, 3); });
  refused(adamw, "gradient: expected [4, 32] Float cpu, found [4, 32] Float meta",
          [](auto& s) { s.gradient = s.gradient.to(at::kMeta); });
  refused(adamw,
          "gradient: expected memory aligned to 16 bytes, found an address 4 bytes past "
          "a multiple of it",
          [](auto& s) { s.gradient = at::zeros({4 * 32 + 1}).narrow(0, 1, 128).view({4, 32}); });
  refused(adamw, "rates: expected [4] Double cpu, found [4] Float cpu",
          [](auto& s) { s.rates = s.rates.to(at::kFloat); });
  refused(adamw, "scales: expected [4] Double cpu, found [5] Double cpu",
          [](auto& s) { s.scales = at::ones({5}, at::kDouble); });
  refused(adamw, "slots: expected at most 65535 members, found 65536", [](auto& s) {
    s.values_all = s.first_all = s.second_all = at::zeros({8, 4});
    s.slots = at::zeros({65536}, at::kLong);
    s.gradient = at::zeros({65536, 4});
    s.rates = s.scales = at::zeros({65536}, at::kDouble);
  });
}
