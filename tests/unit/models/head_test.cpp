#include <algorithm>
#include <cmath>
#include <utility>

#include "models/head.hpp"

#include <dissent/error.hpp>

#include <gtest/gtest.h>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "models/linear.hpp"

using namespace dissent;

namespace {

at::Tensor head_draws(std::vector<int64_t> shape, uint64_t key) {
  auto values = at::empty(shape, at::kDouble);
  fill_uniform(values, -1, 1, Random(7, Purpose::kNoise, key));
  return values;
}

// The whole flat gradient [P] as Head::backward gives it.
at::Tensor flat_gradient(const Head& head, const HeadGradient& gradient) {
  auto flat = at::zeros({head.layout().size()}, at::kDouble);
  for (const auto& part : gradient.linear)
    parameter(flat, head.layout().entry(part.entry)).copy_(at::mm(part.dy.t(), part.x));
  for (const auto& part : gradient.vectors)
    parameter(flat, head.layout().entry(part.entry)).copy_(part.value);
  return flat;
}

class EveryHead : public ::testing::TestWithParam<std::string> {};

}  // namespace

TEST(BlockHead, HasTheReferencesParameterCount) {
  EXPECT_EQ(make_head("block_head", 768, 3072, 1000)->layout().parameter_count(), 5495272);
  EXPECT_EQ(make_head("block_head", 768, std::nullopt, 1000)->layout().parameter_count(), 5495272);
}

TEST(BlockHead, StartsAsTheReferenceDoes) {
  const auto head = make_head("block_head", 64, 256, 10);
  auto flat = at::empty({head->layout().size()}, at::kFloat);
  head->initialise(flat, 1, 0);
  const auto at_name = [&](const char* name) {
    return parameter(flat, *head->layout().find(name));
  };
  EXPECT_TRUE(at_name("gamma_2").eq(1e-4f).all().item<bool>());
  EXPECT_TRUE(at_name("norm2.weight").eq(1).all().item<bool>());
  EXPECT_TRUE(at_name("mlp.fc1.bias").eq(0).all().item<bool>());
  EXPECT_NEAR(at_name("mlp.fc1.weight").std().item<double>(), 0.02,
              0.001);  // 16,384 head_draws: deviation 0.00011
  auto other = at::empty_like(flat);
  head->initialise(other, 1, 1);
  EXPECT_FALSE(at::equal(flat, other));
  head->initialise(other, 1, 0);
  EXPECT_TRUE(at::equal(flat, other));
}

// Central differences in f64 along random directions: error O(h^2) + eps / h, so 1e-6 relative at h
// = 1e-5.
TEST_P(EveryHead, GradientIsTheDerivative) {
  const auto head = make_head(GetParam(), 11, 23, 5);
  auto flat = head_draws({head->layout().size()}, 1), x = head_draws({6, 11}, 2);
  const auto cotangent = head_draws({6, 5}, 3);
  std::vector<at::Tensor> saved;
  head->forward(flat, x, &saved);
  at::Tensor dx;
  const auto gradient = flat_gradient(*head, head->backward(flat, x, saved, cotangent, &dx));
  const auto value = [&](const at::Tensor& p, const at::Tensor& input) {
    return (head->forward(p, input, nullptr) * cotangent).sum().item<double>();
  };
  const double h = 1e-5;
  for (uint64_t direction = 10; direction < 16; ++direction) {
    const auto dp = head_draws({head->layout().size()}, direction),
               di = head_draws({6, 11}, direction + 100);
    const double numeric = (value(flat + h * dp, x) - value(flat - h * dp, x)) / (2 * h),
                 analytic = (gradient * dp).sum().item<double>();
    EXPECT_NEAR(numeric, analytic, 1e-6 * std::max(1.0, std::abs(analytic)));
    const double numeric_x = (value(flat, x + h * di) - value(flat, x - h * di)) / (2 * h),
                 analytic_x = (dx * di).sum().item<double>();
    EXPECT_NEAR(numeric_x, analytic_x, 1e-6 * std::max(1.0, std::abs(analytic_x)));
  }
}

// Sizes over several blocks; one product a block on one thread, so the thread count cannot show.
TEST_P(EveryHead, BitsDoNotDependOnThreads) {
  const auto head = make_head(GetParam(), 257, 1300, 1000);
  auto flat = at::empty({head->layout().size()}, at::kFloat);
  head->initialise(flat, 3, 0);
  const auto x = head_draws({33, 257}, 5).to(at::kFloat),
             cotangent = head_draws({33, 1000}, 6).to(at::kFloat);
  std::vector<at::Tensor> logits;
  std::vector<at::Tensor> inputs;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    std::vector<at::Tensor> saved;
    logits.push_back(head->forward(flat, x, &saved));
    at::Tensor dx;
    head->backward(flat, x, saved, cotangent, &dx);
    inputs.push_back(dx);
  }
  set_threads(1);
  EXPECT_TRUE(at::equal(logits[0], logits[1]) && at::equal(logits[0], logits[2]));
  EXPECT_TRUE(at::equal(inputs[0], inputs[1]) && at::equal(inputs[0], inputs[2]));
}

// Where a member lies in its stack must not change its bits: a split over ranks moves it.
TEST_P(EveryHead, BitsDoNotDependOnThePlaceInTheStack) {
  const auto head = make_head(GetParam(), 19, 37, 7);
  auto stack = at::empty({3, head->layout().size()}, at::kFloat);
  for (int64_t i = 0; i < 3; ++i) head->initialise(stack[i], 3, 4);
  const auto x = head_draws({5, 19}, 5).to(at::kFloat);
  const auto alone = stack[0].clone();
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(at::equal(head->forward(stack[i], x, nullptr), head->forward(alone, x, nullptr)));
}

INSTANTIATE_TEST_SUITE_P(Heads, EveryHead, ::testing::Values("block_head", "mlp", "linear"));

TEST(Head, UnknownNameNamesTheNearest) {
  try {
    make_head("blok_head", 4, 4, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("did you mean 'block_head'"), std::string::npos);
  }
  EXPECT_THROW(make_head("mlp", 0, 4, 2), Error);
}

TEST(Linear, WeightBlocksCoverEveryRowOnce) {
  for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{
           {3072, 768}, {768, 3072}, {1000, 768}, {10, 784}, {1, 1}, {17, 200000}}) {
    int64_t next = 0;
    for (int64_t b = 0; b < weight_blocks(out, in, false); ++b) {
      const auto [first, count] = weight_block(out, in, false, b);
      EXPECT_EQ(first, next);
      next = first + count;
    }
    EXPECT_EQ(next, out);
  }
}
