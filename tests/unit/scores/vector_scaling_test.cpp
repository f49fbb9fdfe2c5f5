#include <dissent/scores/temperature.hpp>
#include <dissent/scores/vector_scaling.hpp>

#include <cmath>

#include "core/parallel.hpp"
#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

// Labels drawn from softmax(scale * z + shift): what a fit should find again.
struct Drawn {
  at::Tensor logits, labels, scale, shift;
};

Drawn drawn(int64_t rows, int64_t classes) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{11});
  Drawn out{at::randn({rows, classes}, generator, at::kDouble) * 2,
            {},
            at::linspace(0.5, 1.5, classes, at::kDouble),
            at::linspace(-1, 1, classes, at::kDouble)};
  const auto p = at::softmax(out.logits * out.scale + out.shift, -1);
  out.labels = at::multinomial(p, 1, false, generator).squeeze(1);
  return out;
}

double nll_of(const at::Tensor& logits, const at::Tensor& labels) {
  return at::log_softmax(logits, -1).gather(1, labels.unsqueeze(1)).mean().neg().item<double>();
}

}  // namespace

TEST(VectorScaling, FindsTheScalingThatDrewTheLabels) {
  const auto data = drawn(40000, 5);
  const auto fit = fit_vector_scaling(data.logits, data.labels);
  EXPECT_TRUE(fit.converged);
  EXPECT_LE(fit.gradient, 1e-7);
  // 40,000 samples fix them to about 0.02; five deviations.
  EXPECT_LT((fit.scale - data.scale).abs().max().item<double>(), 0.1);
  EXPECT_LT((fit.shift - data.shift).abs().max().item<double>(), 0.1);
  EXPECT_NEAR(nll_of(scale_logits(data.logits, fit), data.labels), fit.nll, 1e-13);
  EXPECT_LT(fit.nll, fit_temperature(data.logits, data.labels).nll - 0.01);
}

TEST(VectorScaling, IsAMinimum) {
  const auto data = drawn(500, 4);
  const auto fit = fit_vector_scaling(data.logits, data.labels);
  ASSERT_TRUE(fit.converged);
  for (int64_t c = 0; c < 4; ++c)
    for (const double step : {-1e-3, 1e-3}) {
      VectorScaling moved{fit.scale.clone(), fit.shift.clone()};
      moved.scale[c] += step;
      EXPECT_GT(nll_of(scale_logits(data.logits, moved), data.labels), fit.nll);
      moved = {fit.scale.clone(), fit.shift.clone()};
      moved.shift[c] += step;
      EXPECT_GT(nll_of(scale_logits(data.logits, moved), data.labels), fit.nll);
    }
  EXPECT_NEAR(fit.shift.sum().item<double>(), 0, 1e-13);
}

TEST(VectorScaling, BitsDoNotDependOnThreads) {
  const auto data = drawn(9000, 4);
  set_threads(1);
  const auto one = fit_vector_scaling(data.logits, data.labels);
  set_threads(3);
  const auto three = fit_vector_scaling(data.logits, data.labels);
  set_threads(1);
  EXPECT_TRUE(at::equal(one.scale, three.scale) && at::equal(one.shift, three.shift));
}

TEST(VectorScaling, DataWithoutAMinimumEndFinite) {
  const auto logits = at::eye(3, at::kDouble);
  for (const auto& labels :
       {at::arange(3), at::zeros({3}, at::kLong)}) {  // all right; classes without samples
    const auto fit = fit_vector_scaling(logits, labels, {1e-7, 100});
    EXPECT_TRUE(fit.scale.isfinite().all().item<bool>() && fit.shift.isfinite().all().item<bool>());
    EXPECT_LT(fit.nll, std::log(3.0));
  }
}

TEST(VectorScaling, WrongInputsAreErrors) {
  expect_error(ErrorKind::kUsage, "labels",
               [] { fit_vector_scaling(at::zeros({2, 3}), at::zeros({3}, at::kLong)); });
  expect_error(ErrorKind::kUsage, "tolerance > 0",
               [] { fit_vector_scaling(at::zeros({2, 3}), at::zeros({2}, at::kLong), {0, 1}); });
  expect_error(ErrorKind::kUsage, "expected [..., 3]", [] {
    scale_logits(at::zeros({2, 4}),
                 fit_vector_scaling(at::zeros({2, 3}), at::zeros({2}, at::kLong)));
  });
}
