#include "train/update/optimizer.hpp"

#include <gtest/gtest.h>

#include <array>

#include "kernels/momentum_linear.hpp"

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
    p -= o.learning_rate * (m / (1 - std::pow(o.beta1, t))) /
         (std::sqrt(v / (1 - std::pow(o.beta2, t))) + o.epsilon);
  }
  void sgd(double g, const OptimizerOptions& o, double decay) {
    g += decay * p;
    v = o.momentum * v + g;
    p -= o.learning_rate * (o.nesterov ? g + o.momentum * v : v);
  }
};

OptimizerKind kind_of(const std::string& name) {
  if (name == "adamw") return OptimizerKind::kAdamW;
  return name == "adam" ? OptimizerKind::kAdam : OptimizerKind::kSgd;
}

}  // namespace

TEST(Optimizer, FollowsTheTextbook) {
  for (const std::string name : {"adamw", "adam", "sgd", "nesterov"}) {
    SCOPED_TRACE(name);
    OptimizerOptions options{.kind = kind_of(name),
                             .learning_rate = 0.03,
                             .weight_decay = 0.2,
                             .nesterov = name == "nesterov"};
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
    const OptimizerOptions options{.kind = kind_of(name), .weight_decay = 0.1};
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
  for (const auto& [name, state] : optimizer.state())
    EXPECT_TRUE(state[0].eq(0).all().item<bool>()) << name;
}

// The one pass over weight and momentum against the plain formula in f64, for shapes that leave
// every kind of rest; the same bits however rows are cut.
TEST(MomentumLinear, IsThePlainFormulaForAnyShapeAndCut) {
  for (const auto& [batch, rows, columns] : {std::array<int64_t, 3>{16, 48, 64},
                                             {5, 7, 37},
                                             {1, 9, 100},
                                             {3, 17, 16},
                                             {64, 8, 33},
                                             {2, 1, 1}}) {
    const auto option = at::TensorOptions(at::kFloat);
    const auto weight = at::sin(at::arange(rows * columns, option)).view({rows, columns}),
               velocity = at::cos(at::arange(rows * columns, option)).view({rows, columns});
    const auto dy = at::sin(at::arange(batch * rows, option) * 1.7).view({batch, rows}),
               x = at::cos(at::arange(batch * columns, option) * 0.9).view({batch, columns});
    const auto v = 0.9 * velocity.to(at::kDouble) + dy.to(at::kDouble).t().mm(x.to(at::kDouble)) +
                   0.01 * weight.to(at::kDouble);
    const auto w = weight.to(at::kDouble) - 0.1 * v;
    const auto run = [&](int64_t cut) {
      auto new_weight = weight.clone(), new_velocity = velocity.clone();
      for (const auto& [first, count] : {std::pair{int64_t{0}, cut}, std::pair{cut, rows - cut}}) {
        const kernels::LinearBlock block{new_weight.data_ptr<float>() + first * columns,
                                         new_velocity.data_ptr<float>() + first * columns,
                                         dy.const_data_ptr<float>() + first,
                                         rows,
                                         x.const_data_ptr<float>(),
                                         columns,
                                         batch,
                                         count,
                                         columns};
        if (!kernels::momentum_linear(block, 0.9f, 0.01f, 0.1f))
          return std::pair{at::Tensor(), at::Tensor()};
      }
      return std::pair{new_weight, new_velocity};
    };
    const auto [new_weight, new_velocity] = run(0);
    if (!new_weight.defined()) GTEST_SKIP() << "neither AVX-512 nor AVX2 with FMA here";
    const double rounding =
        6e-8 * static_cast<double>(batch + 4);  // each sum's roundings, terms of size 1
    EXPECT_LT((new_velocity - v).abs().max().item<double>(), rounding * 2);
    EXPECT_LT((new_weight - w).abs().max().item<double>(), rounding * 2);
    const auto [cut_weight, cut_velocity] = run(rows / 2);
    EXPECT_TRUE(at::equal(new_weight, cut_weight) && at::equal(new_velocity, cut_velocity))
        << rows << " x " << columns;
  }
}
