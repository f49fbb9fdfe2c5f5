#include "train/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "core/random.hpp"

using namespace dissent;

namespace {

at::Tensor draws(std::vector<int64_t> shape, uint64_t key) {
  auto values = at::empty(shape, at::kDouble);
  fill_uniform(values, -1, 1, Random(7, Purpose::kNoise, key));
  return values;
}

// Textbook forms, element by element.
struct Scalar {
  double p, m = 0, v = 0;
  void adamw(double g, double t, const OptimizerOptions& o, double decay) {
    p -= o.learning_rate * decay * p;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    p -= o.learning_rate * (m / (1 - std::pow(o.beta1, t))) / (std::sqrt(v / (1 - std::pow(o.beta2, t))) + o.epsilon);
  }
  void sgd(double g, const OptimizerOptions& o, double decay) {
    g += decay * p;
    v = o.momentum * v + g;
    p -= o.learning_rate * (o.nesterov ? g + o.momentum * v : v);
  }
};

}  // namespace

TEST(Optimizer, FollowsTheTextbook) {
  for (const std::string name : {"adamw", "adam", "sgd", "nesterov"}) {
    SCOPED_TRACE(name);
    OptimizerOptions options{.name = name == "nesterov" ? "sgd" : name, .learning_rate = 0.03, .weight_decay = 0.2, .nesterov = name == "nesterov"};
    auto values = draws({1, 16}, 1);
    std::vector<Scalar> expected;
    for (int64_t i = 0; i < 16; ++i) expected.push_back({values[0][i].item<double>()});
    Optimizer optimizer(options, values);
    for (int t = 1; t <= 5; ++t) {
      const auto g = draws({16}, 10 + t);
      optimizer.begin_step(0);
      optimizer.update(0, 0, g, options.learning_rate);
      for (int64_t i = 0; i < 16; ++i) {
        const double gi = g[i].item<double>();
        if (name == "adamw") expected[i].adamw(gi, t, options, 0.2);
        if (name == "adam") expected[i].adamw(gi + 0.2 * expected[i].p, t, options, 0);
        if (name == "sgd" || name == "nesterov") expected[i].sgd(gi, options, 0.2);
      }
    }
    for (int64_t i = 0; i < 16; ++i) EXPECT_NEAR(values[0][i].item<double>(), expected[i].p, 1e-12);
  }
}

// v += dy' x in one product gives what the gradient and the plain update give, to rounding of f64.
TEST(Optimizer, FactoredGradientGivesTheSameStep) {
  ParameterLayout layout;
  layout.add("w", {6, 8});
  for (const std::string name : {"adamw", "sgd"}) {
    const OptimizerOptions options{.name = name, .weight_decay = 0.1};
    auto a = draws({1, layout.size()}, 1), b = a.clone();
    Optimizer factored(options, a), plain(options, b);
    for (int t = 0; t < 3; ++t) {
      const auto dy = draws({4, 6}, 20 + t), x = draws({4, 8}, 30 + t);
      factored.begin_step(0);
      factored.update_linear(0, layout.entry(0), 0, 2, dy, x, 0.1);
      factored.update_linear(0, layout.entry(0), 2, 4, dy, x, 0.1);
      plain.begin_step(0);
      plain.update(0, 0, at::mm(dy.t(), x), 0.1);
    }
    EXPECT_LT((a - b).abs().max().item<double>(), 1e-13) << name;
  }
}

TEST(Optimizer, LeavesOtherMembersAlone) {
  auto values = draws({3, 16}, 1);
  const auto before = values.clone();
  Optimizer optimizer({}, values);
  optimizer.begin_step(1);
  optimizer.update(1, 0, draws({16}, 2), 0.1);
  EXPECT_TRUE(at::equal(values[0], before[0]) && at::equal(values[2], before[2]));
  EXPECT_FALSE(at::equal(values[1], before[1]));
  EXPECT_EQ(optimizer.steps(), (std::vector<int64_t>{0, 1, 0}));
  for (const auto& [name, state] : optimizer.state()) EXPECT_TRUE(state[0].eq(0).all().item<bool>()) << name;
}
