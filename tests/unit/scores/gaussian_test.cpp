// mds, rmds, vim, residual.
#include <limits>
#include <vector>

#include <fmt/format.h>

#include <dissent/scores/gaussian.hpp>
#include <dissent/scores/subspace.hpp>

#include "core/parallel.hpp"
#include "expect_error.hpp"
#include "tensors.hpp"
#include "unit/losses/peak_memory.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

using dissent::testing::largest;

// max_c -(h - mu_c)^T P (h - mu_c), class by class.
at::Tensor plain_mds(const FitData& data, const at::Tensor& h) {
  auto centred = data.train.features.clone();
  std::vector<at::Tensor> means;
  for (int64_t c = 0; c < MadeFeatures::kClasses; ++c) {
    const auto of_class = data.train.labels.eq(c).nonzero().squeeze(1);
    if (of_class.numel() == 0) continue;
    means.push_back(centred.index_select(0, of_class).mean(0));
    centred.index_add_(0, of_class, means.back().neg().expand({of_class.numel(), -1}));
  }
  const auto precision =
      at::linalg_pinv(at::mm(centred.t(), centred) / static_cast<double>(centred.size(0)));
  std::vector<at::Tensor> scores;
  for (const auto& mean : means)
    scores.push_back(at::mm(h - mean, precision).mul(h - mean).sum(1).neg());
  return at::stack(scores).amax(0);
}

}  // namespace

TEST(Mds, EqualsTheDistanceToEachClass) {
  const MadeFeatures made;
  EXPECT_LT(largest(score_mds(fit_mds(made.data()), made.test.features, {}) -
                    plain_mds(made.data(), made.test.features)),
            1e-9);
}

TEST(Mds, ClosedFormInOneDimension) {
  FitData data;
  data.train.features =
      at::tensor({0.0, 2.0, 10.0, 12.0}, at::kDouble).view({4, 1});  // means 1 and 11, variance 1
  data.train.labels = at::tensor({0, 0, 1, 1}, at::kLong);
  const auto h = at::tensor({4.0, 11.0}, at::kDouble).view({2, 1});
  EXPECT_LT(largest(score_mds(fit_mds(data), h, {}) - at::tensor({-9.0, 0.0}, at::kDouble)), 1e-13);
  // All in one class: mean 6, variance 26.
  EXPECT_LT(largest(score_rmds(fit_rmds(data), h, {}) -
                    at::tensor({-9.0 + 4.0 / 26, 25.0 / 26}, at::kDouble)),
            1e-13);
}

TEST(Mds, DoesNotDependOnAnInvertibleMapOfTheFeatures) {
  const MadeFeatures made;
  auto data = made.data();
  const auto map = made_logits(1, MadeFeatures::kDimension, MadeFeatures::kDimension, 1.0, 8)[0],
             shift = made_logits(1, 1, MadeFeatures::kDimension, 5.0, 9)[0];
  const auto mapped = [&](const at::Tensor& h) { return at::mm(h, map) + shift; };
  data.train.features = mapped(made.train.features);
  const auto one = score_mds(fit_mds(made.data()), made.test.features, {}),
             other = score_mds(fit_mds(data), mapped(made.test.features), {});
  EXPECT_LT(largest((one - other) / one), 1e-8);  // the condition of the map, squared, times 2^-52
  const auto relative = score_rmds(fit_rmds(made.data()), made.test.features, {}) -
                        score_rmds(fit_rmds(data), mapped(made.test.features), {});
  EXPECT_LT(largest(relative), 1e-7);
}

TEST(Mds, AnAbsentClassIsLeftOut) {
  const MadeFeatures made;
  auto data = made.data();
  data.train.labels = data.train.labels.masked_fill(data.train.labels.eq(2), 3);
  const auto score = score_mds(fit_mds(data), made.test.features, {});
  EXPECT_TRUE(score.isfinite().all().item<bool>());
  EXPECT_LT(largest(score - plain_mds(data, made.test.features)), 1e-9);
}

TEST(Mds, DirectionsWithoutSpreadFallOut) {
  const MadeFeatures made;
  auto data = made.data();
  const auto wide = [](const at::Tensor& h) {
    return at::cat({h, at::full({h.size(0), 3}, 0.7, at::kDouble), h.narrow(1, 0, 1)}, 1);
  };  // constants, a copy
  data.train.features = wide(made.train.features);
  EXPECT_LT(largest(score_mds(fit_mds(data), wide(made.test.features), {}) -
                    score_mds(fit_mds(made.data()), made.test.features, {})),
            1e-8);
  data.train.features = at::full({150, 20}, 2.5, at::kDouble);
  EXPECT_EQ(largest(score_rmds(fit_rmds(data), made.test.features, {})), 0);  // no spread at all
}

TEST(Mds, ClassesFarApartKeepTheirDigits) {
  const MadeFeatures made;
  auto data = made.data();
  // Means moved by 1e6 in the first direction, class by class: sums of squares in one pass would
  // keep 4 digits of the covariance.
  const auto moved = [](const at::Tensor& h, const at::Tensor& labels) {
    return h + at::one_hot(at::zeros_like(labels), 20) * labels.unsqueeze(1) * 1e6;
  };
  data.train.features = moved(made.train.features, made.train.labels);
  const auto near = score_mds(fit_mds(made.data()), made.train.features, {}),
             far = score_mds(fit_mds(data), data.train.features, {});
  // With the classes this far apart each sample is scored by its own class.
  const auto state = fit_mds(made.data());
  const auto centred =
      made.train.features - state.at("class_mean").index_select(0, made.train.labels);
  const auto own = at::mm(centred, precision(state)).mul(centred).sum(1).neg();
  EXPECT_LT(largest(far - own), 1e-6);  // 20 roundings of 1e6 2^-52, over a deviation of 0.1
  EXPECT_TRUE(near.ge(own - 1e-9).all().item<bool>());
}

TEST(Mds, SameBitsForAnyThreadsAndAStateWithoutPoints) {
  // Two tiles of the covariance, three blocks of training rows, three tasks of samples.
  const int64_t rows = 5000, d = 300;
  FitData data;
  data.train.features = made_logits(1, rows, d)[0].to(at::kFloat);
  data.train.labels = at::arange(rows, at::kLong).remainder(7);
  const auto h = data.train.features.narrow(0, 0, 700);
  auto state = fit_rmds(data);
  const auto score = score_rmds(state, h, {});
  const auto x = data.train.features.to(at::kDouble) -
                 state.at("class_mean").index_select(0, data.train.labels);
  const auto inverse = at::linalg_inv(at::mm(x.t(), x) / static_cast<double>(rows));
  EXPECT_LT(largest(precision(state) - inverse) / inverse.abs().max().item<double>(),
            1e-11);  // condition of 5000 x 300, about 3, times roundings
  for (const int threads : {2, 3}) {
    set_threads(threads);
    EXPECT_TRUE(at::equal(score_rmds(fit_rmds(data), h, {}), score)) << threads;
  }
  set_threads(1);
  state.erase("class_points");
  EXPECT_TRUE(at::equal(score_rmds(state, h, {}), score));
  data.train.features[77][3] = std::numeric_limits<float>::infinity();
  expect_error(ErrorKind::kData,
               "mds: training features: expected finite values, found 1 that are not",
               [&] { fit_mds(data); });
}

TEST(Mds, MemoryDoesNotGrowWithTheSamples) {
  const int64_t d = 64, classes = 10, rows = 100000;
  FitData data;
  data.train.features = made_logits(1, 1000, d).to(at::kFloat)[0].repeat({rows / 1000, 1});
  data.train.labels = at::arange(rows, at::kLong).remainder(classes);
  PeakMemory memory;
  const auto state = fit_mds(data);
  score_mds(state, data.train.features, {});
  // In addition to the scores: a few blocks of 1024 x 64 f64, and D x D.
  EXPECT_LT(memory.peak(), rows * 8 + 16 * kBlockRows * d * 8);
}

TEST(Vim, ResidualIsWhatThePrincipalSpaceLeaves) {
  const MadeFeatures made;
  const auto data = made.data();
  const auto state = fit_vim(data, {8});
  const auto &u = state.at("u"), &space = state.at("residual_space");
  EXPECT_EQ(space.sizes(), at::IntArrayRef({20, 12}));
  EXPECT_LT(largest(at::mm(space.t(), space) - at::eye(12, at::kDouble)), 1e-13);
  EXPECT_LT(largest(at::linear(u, made.head.weight, made.head.bias)),
            1e-12);  // W u + b = 0 where C <= D
  // The residual energy is the sum of the smallest eigenvalues.
  const auto x = made.train.features - u;
  const auto eigenvalues = std::get<0>(at::linalg_eigh(at::mm(x.t(), x) / 150.0));
  EXPECT_NEAR(at::mm(x, space).square().sum().item<double>() / 150,
              eigenvalues.narrow(0, 0, 12).sum().item<double>(), 1e-10);
  // On the training set the virtual logit is as large as the largest logit, on average.
  const auto taken =
      made.train.logits.logsumexp(1) - score_vim(state, made.train.features, made.train.logits);
  EXPECT_NEAR(taken.mean().item<double>(), made.train.logits.amax(1).mean().item<double>(), 1e-11);
}

TEST(Vim, DimensionsHaveToLeaveSomething) {
  const MadeFeatures made;
  for (const int64_t dim : {20, 256, -1})
    expect_error(ErrorKind::kUsage,
                 fmt::format("vim: dim: expected 0 .. 19 for 20 features, found {}", dim),
                 [&] { fit_vim(made.data(), {dim}); });
  expect_error(ErrorKind::kUsage, "residual: dim: expected 0 .. 19 for 20 features, found 512",
               [&] { fit_residual(made.data()); });
  auto data = made.data();
  data.train.features = at::mm(made_logits(1, 150, 3, 1.0, 7)[0],
                               made_logits(1, 3, 20, 1.0, 8)[0]);  // of 3 dimensions
  data.head.bias = at::zeros({5}, at::kDouble);                    // u = 0
  expect_error(ErrorKind::kUsage,
               "vim: dim: expected fewer dimensions than the training features span, found that "
               "nothing is left outside of 3; use a smaller score.vim.dim",
               [&] { fit_vim(data, {3}); });
  EXPECT_NO_THROW(fit_vim(data, {2}));
}

TEST(Residual, IsFittedOnTheValidationSet) {
  const MadeFeatures made;
  auto data = made.data();
  data.train.features = at::Tensor();
  const auto score = score_residual(fit_residual(data, {8}), made.test.features, {});
  data.train.features = made.validation.features;
  data.train.logits = made.validation.logits;
  const auto state = fit_vim(data, {8});
  EXPECT_LT(
      largest(score * state.at("alpha") - (score_vim(state, made.test.features, made.test.logits) -
                                           made.test.logits.logsumexp(1))),
      1e-11);
  EXPECT_TRUE(
      score_residual(fit_residual(data, {0}), made.test.features, {}).le(score).all().item<bool>());
}
