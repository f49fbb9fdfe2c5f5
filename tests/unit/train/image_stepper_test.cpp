// The step of image ensembles against plain autograd, and its rules: accumulation, clipping,
// gradients that are not finite, running statistics. The objective itself is held by the reference
// cases (sdde_losses.h5, step).
#include "train/image_stepper.hpp"

#include <gtest/gtest.h>

#include "core/parallel.hpp"
#include "models/networks/lenet.hpp"
#include "models/networks/multihead.hpp"
#include "models/networks/resnet.hpp"

using namespace dissent;

namespace {

// Two members in f64 on the process alone.
struct Fixture {
  std::unique_ptr<Communicator> world = make_self_communicator();
  Grid grid{*world, {}};
  ImageMembers members;
  Optimizer optimizer;

  explicit Fixture(std::shared_ptr<const ImageNetwork> network, int64_t total = 2, double rate = 1)
      : members(
            make_image_members(std::move(network), total, {0, total}, 3, at::kDouble, at::kCPU)),
        optimizer({.name = "sgd", .learning_rate = rate, .momentum = 0}, members.values) {}

  ImageStepper stepper(std::vector<losses::LossTerm> terms, ImageStepOptions options = {},
                       bool same_batch = false) {
    options.compute = at::kDouble;
    return {members,
            {.terms = std::move(terms), .same_batch = same_batch, .unlabelled = false},
            options,
            grid,
            nullptr};
  }
};

ImageRows batch(int64_t rows, int64_t seed, int64_t first = 0, int64_t count = -1) {
  at::manual_seed(seed);
  const auto x = at::randn({rows, 3, 28, 28}, at::kDouble);
  const auto labels = at::arange(rows, at::kLong).remainder(10);
  if (count < 0) count = rows;
  return {x.narrow(0, first, count), labels.narrow(0, first, count), count};
}

ImageStepInput input_of(std::vector<ImageRows> own, ImageRows diversity = {}) {
  ImageStepInput input;
  input.own = std::move(own);
  input.diversity = std::move(diversity);
  return input;
}

at::Tensor figures_of(const ImageStepper& stepper) {
  return at::zeros({stepper.columns()}, at::kDouble);
}
const losses::LossTerm kCrossEntropy{"cross_entropy", {.weight = 1}, {}};

TEST(ImageStepper, CrossEntropyIsTheMeanOverMembersOnTheirOwnBatches) {
  Fixture f(std::make_shared<LeNet>(3, 10));
  const auto before = f.members.values.clone();
  auto stepper = f.stepper({kCrossEntropy});
  const std::vector<ImageRows> own{batch(4, 1), batch(4, 2)};
  auto figures = figures_of(stepper);
  stepper.accumulate(input_of(own), 1, figures);
  stepper.update(f.optimizer, 1, Request::kNone);
  double mean = 0;
  for (int64_t m = 0; m < 2; ++m) {
    auto flat = before[m].clone().requires_grad_();
    const auto out = f.members.network->forward(unpack(flat, f.members.network->layout()),
                                                f.members.buffers[m], own[m].x, true);
    const auto loss = at::cross_entropy_loss(out.logits, own[m].labels);
    mean += loss.item<double>() / 2;
    const auto gradient = torch::autograd::grad({loss / 2}, {flat})[0];
    EXPECT_TRUE(at::allclose(before[m] - f.members.values[m], gradient, 1e-10, 1e-13));
  }
  EXPECT_NEAR(stepper.term_values(figures)[0], mean, 1e-12);
}

TEST(ImageStepper, AccumulatedHalvesAreTheWholeBatch) {
  const auto run = [](bool halves) {
    Fixture f(std::make_shared<LeNet>(3, 10));
    auto stepper = f.stepper({kCrossEntropy, {"oe", {.weight = 0}, {}}});
    for (int64_t i = 0; i < (halves ? 2 : 1); ++i) {
      const int64_t first = halves ? 4 * i : 0, count = halves ? 4 : 8;
      const std::vector<ImageRows> own{batch(8, 1, first, count), batch(8, 2, first, count)};
      stepper.accumulate(input_of(own, own[0]), halves ? 0.5 : 1, figures_of(stepper));
    }
    stepper.update(f.optimizer, 1, Request::kNone);
    return f.members.values;
  };
  EXPECT_TRUE(at::allclose(run(true), run(false), 1e-10, 1e-13));
}

TEST(ImageStepper, ClipsTheNormOverAllMembers) {
  Fixture f(std::make_shared<LeNet>(3, 10));
  const auto before = f.members.values.clone();
  auto stepper = f.stepper({kCrossEntropy}, {.clip_norm = 1e-3});
  stepper.accumulate(input_of({batch(4, 1), batch(4, 2)}), 1, figures_of(stepper));
  const auto outcome = stepper.update(f.optimizer, 1, Request::kNone);
  EXPECT_GT(outcome.norm, 1e-2);
  EXPECT_NEAR((f.members.values - before).norm().item<double>(),
              1e-3 * outcome.norm / (outcome.norm + 1e-6), 1e-12);
}

TEST(ImageStepper, GradientThatIsNotFiniteStopsOrIsPassedOver) {
  for (const bool skip : {false, true}) {
    Fixture f(std::make_shared<LeNet>(3, 10));
    const auto before = f.members.values.clone();
    auto stepper = f.stepper({kCrossEntropy}, {.skip_not_finite = skip});
    auto own = std::vector<ImageRows>{batch(4, 1), batch(4, 2)};
    own[1].x[0].fill_(std::numeric_limits<double>::quiet_NaN());
    stepper.accumulate(input_of(own), 1, figures_of(stepper));
    if (!skip) {
      EXPECT_THROW(stepper.update(f.optimizer, 1, Request::kNone), Error);
      continue;
    }
    EXPECT_TRUE(stepper.update(f.optimizer, 1, Request::kNone).skipped);
    EXPECT_TRUE(at::equal(before, f.members.values));
    own[1] = batch(4, 2);
    stepper.accumulate(input_of(own), 1, figures_of(stepper));
    EXPECT_FALSE(stepper.update(f.optimizer, 1, Request::kNone)
                     .skipped);  // nothing of the bad gradient is left
    EXPECT_TRUE(f.members.values.isfinite().all().item<bool>());
  }
}

TEST(ImageStepper, DiversityBatchIsSeenInEvaluationModeAfterTheTrainingPass) {
  // The running statistics move once, by the own batches; the members' pull is that of evaluation
  // mode with the moved ones.
  const auto network = std::make_shared<ResNet>(ResNetOptions{.blocks = {1, 1, 1, 1}, .width = 8});
  Fixture f(network);
  at::manual_seed(4);
  std::vector<ImageRows> own;
  for (int64_t m = 0; m < 2; ++m)
    own.push_back({at::randn({3, 3, 32, 32}, at::kDouble), at::arange(3, at::kLong), 3});
  auto buffers = f.members.buffers.clone();
  const auto before = f.members.values.clone();
  auto stepper = f.stepper({{"cross_entropy", {.weight = 0}, {}}, {"ncl", {.weight = 0.3}, {}}});
  stepper.accumulate(input_of(own, own[1]), 1, figures_of(stepper));
  stepper.update(f.optimizer, 1, Request::kNone);
  std::vector<at::Tensor> flats, logits;
  for (int64_t m = 0; m < 2; ++m) {
    flats.push_back(before[m].clone().requires_grad_());
    {
      const at::NoGradGuard no_graph;
      network->forward(unpack(before[m], network->layout()), buffers[m], own[m].x, true);
    }
    logits.push_back(
        network->forward(unpack(flats[m], network->layout()), buffers[m], own[1].x, false).logits);
  }
  EXPECT_TRUE(at::equal(buffers, f.members.buffers));
  losses::LossInput read;
  read.logits = at::stack(logits);
  const auto gradients = torch::autograd::grad({0.3 * losses::evaluate("ncl", read)}, flats);
  for (int64_t m = 0; m < 2; ++m)
    EXPECT_TRUE(at::allclose(before[m] - f.members.values[m], gradients[m], 1e-8, 1e-12));
}

// Of three networks on two threads the last one's own backward pass is put off: weights, running
// statistics and figures stay the same, bit for bit.
TEST(ImageStepper, ThreadsChangeNoBitOfNetworksWithRunningStatistics) {
  const auto run = [](int count) {
    set_threads(count);
    Fixture f(std::make_shared<ResNet>(ResNetOptions{.blocks = {1, 1, 1, 1}, .width = 8}), 3, 0.1);
    auto stepper = f.stepper({kCrossEntropy, {"gradcam", {.weight = 0.5}, {}}});
    auto figures = figures_of(stepper);
    for (int64_t part = 0; part < 2; ++part)
      stepper.accumulate(input_of({batch(4, 1 + part), batch(4, 3 + part), batch(4, 5 + part)},
                                  batch(4, 7 + part)),
                         0.5, figures);
    stepper.update(f.optimizer, 0.1, Request::kNone);
    set_threads(1);
    return std::tuple(f.members.values, f.members.buffers, figures);
  };
  const auto [one, one_buffers, one_figures] = run(1);
  const auto [two, two_buffers, two_figures] = run(2);
  EXPECT_TRUE(at::equal(one, two));
  EXPECT_TRUE(at::equal(one_buffers, two_buffers));
  EXPECT_TRUE(at::equal(one_figures, two_figures));
}

TEST(ImageStepper, MultiheadMembersShareTheirTrunk) {
  const auto network = std::make_shared<Multihead>(std::make_unique<LeNet>(3, 0), 3, 10);
  Fixture f(network, 3);
  const auto before = f.members.values.clone();
  auto stepper = f.stepper({kCrossEntropy, {"gradcam", {.weight = 0.1}, {}}}, {}, true);
  auto figures = figures_of(stepper);
  stepper.accumulate(input_of({batch(4, 1)}), 1, figures);
  stepper.update(f.optimizer, 1, Request::kNone);
  auto flat = before[0].clone().requires_grad_();
  const auto rows = batch(4, 1);
  const auto out =
      network->forward(unpack(flat, network->layout()), f.members.buffers[0], rows.x, true);
  losses::LossInput read;
  read.logits = out.logits;
  read.labels = rows.labels;
  read.feature_maps = losses::MemberInputs::shared(out.maps);
  const auto loss =
      losses::evaluate("cross_entropy", read) + 0.1 * losses::evaluate("gradcam", read);
  EXPECT_TRUE(at::allclose(before[0] - f.members.values[0],
                           torch::autograd::grad({loss}, {flat})[0], 1e-8, 1e-12));
}

TEST(ImageStepper, HalfPrecisionScalesTheLossAndBacksOff) {
  LossScale scale;
  scale.start();
  scale.observe(false);
  EXPECT_EQ(scale.value, 32768);
  for (int i = 0; i < 2000; ++i) scale.observe(true);
  EXPECT_EQ(scale.value, 65536);
}

}  // namespace
