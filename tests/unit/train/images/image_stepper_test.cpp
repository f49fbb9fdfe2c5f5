// The step of image ensembles against plain autograd, and its rules: accumulation, clipping,
// gradients that are not finite, running statistics. The objective itself is held by the reference
// cases (sdde_losses.h5, step).
#include "train/images/image_stepper.hpp"

#include <gtest/gtest.h>
#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>

#include <cmath>
#include <functional>
#include <tuple>
#include <utility>

#include "core/parallel.hpp"
#include "expect_error.hpp"
#include "models/networks/autocast.hpp"
#include "models/networks/lenet.hpp"
#include "models/networks/multihead.hpp"
#include "models/networks/resnet.hpp"

using namespace dissent;
using dissent::testing::expect_error;

namespace {

// Two members in f64 on the process alone.
struct Fixture {
  std::unique_ptr<Communicator> world = make_self_communicator();
  Grid grid{*world, {}};
  ImageMembers members;
  Optimizer optimizer;

  explicit Fixture(std::shared_ptr<const ImageNetwork> network, int64_t total = 2, double rate = 1)
      : members(make_members(std::move(network), total, {0, total}, 3, at::kDouble, at::kCPU)),
        optimizer({.kind = OptimizerKind::kSgd, .learning_rate = rate, .momentum = 0},
                  members.values) {}

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

ImageStepInput input_of(std::vector<ImageRows> own, ImageRows common = {}) {
  ImageStepInput input;
  input.own = std::move(own);
  input.common = std::move(common);
  return input;
}

at::Tensor values_of(const ImageStepper& stepper) {
  return at::zeros({stepper.columns()}, at::kDouble);
}
const losses::LossTerm kCrossEntropy{"cross_entropy", {.weight = 1}, {}};

TEST(ImageStepper, CrossEntropyIsTheMeanOverMembersOnTheirOwnBatches) {
  Fixture f(std::make_shared<LeNet>(3, 10));
  const auto before = f.members.values.clone();
  auto stepper = f.stepper({kCrossEntropy});
  const std::vector<ImageRows> own{batch(4, 1), batch(4, 2)};
  const auto values = *stepper.accumulate(input_of(own), 1);
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
  EXPECT_NEAR(stepper.term_values(values)[0], mean, 1e-12);
}

TEST(ImageStepper, AccumulatedHalvesAreTheWholeBatch) {
  const auto run = [](bool halves) {
    Fixture f(std::make_shared<LeNet>(3, 10));
    auto stepper = f.stepper({kCrossEntropy, {"oe", {.weight = 0}, {}}});
    for (int64_t i = 0; i < (halves ? 2 : 1); ++i) {
      const int64_t first = halves ? 4 * i : 0, count = halves ? 4 : 8;
      const std::vector<ImageRows> own{batch(8, 1, first, count), batch(8, 2, first, count)};
      stepper.accumulate(input_of(own, own[0]), halves ? 0.5 : 1);
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
  stepper.accumulate(input_of({batch(4, 1), batch(4, 2)}), 1);
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
    stepper.accumulate(input_of(own), 1);
    if (!skip) {
      const auto values = values_of(stepper);
      values[1] = std::numeric_limits<double>::infinity();
      const auto place = UpdatePlace{.epoch = 3, .step = 17, .values = values};
      for (const char* text :
           {"training (epoch 3, step 17): expected a finite gradient, found nan",
            "loss.cross_entropy is inf", "the gradient of member 1 is not finite",
            "a smaller optimizer.learning_rate (0.5 in this step)"}) {
        auto again = f.stepper({kCrossEntropy}, {});
        again.accumulate(input_of(own), 1);
        expect_error(ErrorKind::kData, text,
                     [&] { again.update(f.optimizer, 0.5, Request::kNone, place); });
      }
      continue;
    }
    EXPECT_TRUE(stepper.update(f.optimizer, 1, Request::kNone).skipped);
    EXPECT_TRUE(at::equal(before, f.members.values));
    own[1] = batch(4, 2);
    stepper.accumulate(input_of(own), 1);
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
  stepper.accumulate(input_of(own, own[1]), 1);
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
// statistics and values stay the same, bit for bit.
TEST(ImageStepper, ThreadsChangeNoBitOfNetworksWithRunningStatistics) {
  const auto run = [](int count) {
    set_threads(count);
    Fixture f(std::make_shared<ResNet>(ResNetOptions{.blocks = {1, 1, 1, 1}, .width = 8}), 3, 0.1);
    auto stepper = f.stepper({kCrossEntropy, {"gradcam", {.weight = 0.5}, {}}});
    auto values = values_of(stepper);
    for (int64_t part = 0; part < 2; ++part)
      values +=
          *stepper.accumulate(input_of({batch(4, 1 + part), batch(4, 3 + part), batch(4, 5 + part)},
                                       batch(4, 7 + part)),
                              0.5);
    stepper.update(f.optimizer, 0.1, Request::kNone);
    set_threads(1);
    return std::tuple(f.members.values, f.members.buffers, values);
  };
  const auto [one, one_buffers, one_values] = run(1);
  const auto [two, two_buffers, two_values] = run(2);
  EXPECT_TRUE(at::equal(one, two));
  EXPECT_TRUE(at::equal(one_buffers, two_buffers));
  EXPECT_TRUE(at::equal(one_values, two_values));
}

// Wherever a stop arrives, between whichever passes, in the first batch of a step or the second:
// the step leaves nothing behind, and done again it has the bits of one that was never stopped.
TEST(ImageStepper, AnAbandonedStepLeavesNothing) {
  const std::vector<losses::LossTerm> couples{kCrossEntropy, {"gradcam", {.weight = 0.5}, {}}};
  for (const auto& terms : {std::vector{kCrossEntropy}, couples})
    for (const bool same_batch : {false, true}) {
      int asked = 0, stop_at = 0;  // the question at which a stop arrives; 0: never
      ImageStepOptions options;
      options.stop = [&] { return ++asked >= stop_at && stop_at > 0; };
      const auto make = [] {
        return Fixture(std::make_shared<ResNet>(ResNetOptions{.blocks = {1, 1, 1, 1}, .width = 2}),
                       2, 0.1);
      };
      const auto step = [&](ImageStepper& stepper, Fixture& f, const at::Tensor& values) {
        for (int64_t part = 0; part < 2; ++part) {
          std::vector<ImageRows> own{batch(2, 1 + part)};
          if (!same_batch) own.push_back(batch(2, 3 + part));
          const auto part_values =
              stepper.accumulate(input_of(own, same_batch ? ImageRows() : own[1]), 0.5);
          if (!part_values) return false;
          values.add_(*part_values);
        }
        stepper.update(f.optimizer, 0.1, Request::kNone);
        return true;
      };
      auto whole = make();
      auto plain = whole.stepper(terms, options, same_batch);
      const auto expected = values_of(plain);
      ASSERT_TRUE(step(plain, whole, expected));
      const int questions = asked;
      EXPECT_GE(questions, 4);
      int abandoned = 0;
      for (stop_at = 1; stop_at <= questions; ++stop_at) {
        auto f = make();
        const auto values = f.members.values.clone(), buffers = f.members.buffers.clone();
        auto stepper = f.stepper(terms, options, same_batch);
        asked = 0;
        const bool finished = step(stepper, f, values_of(stepper));
        const int last = stop_at;
        if (!finished) {
          ++abandoned;
          EXPECT_TRUE(at::equal(values, f.members.values)) << last;
          EXPECT_TRUE(at::equal(buffers, f.members.buffers)) << last;
          stop_at = 0;
          const auto values = values_of(stepper);
          EXPECT_TRUE(step(stepper, f, values));
          EXPECT_TRUE(at::equal(values, expected)) << last;
          stop_at = last;
        }
        EXPECT_TRUE(at::equal(whole.members.values, f.members.values)) << last;
        EXPECT_TRUE(at::equal(whole.members.buffers, f.members.buffers)) << last;
      }
      EXPECT_EQ(abandoned, questions);  // a stop is never put off to the next step
      stop_at = 0;
    }
}

// Steps of less than a second are finished: they cost no message and no copy.
TEST(ImageStepper, ShortStepsAreFinished) {
  Fixture f(std::make_shared<LeNet>(3, 10));
  bool stop = false;
  ImageStepOptions options;
  options.stop = [&] { return stop; };
  auto stepper = f.stepper({kCrossEntropy}, options);
  const auto step = [&] {
    return stepper.accumulate(input_of({batch(4, 1), batch(4, 2)}), 1).has_value();
  };
  ASSERT_TRUE(step());  // the first may take any time, so it is watched
  stepper.update(f.optimizer, 1, Request::kNone);
  stop = true;
  EXPECT_TRUE(step());
}

TEST(ImageStepper, MultiheadMembersShareTheirTrunk) {
  const auto network = std::make_shared<Multihead>(std::make_unique<LeNet>(3, 0), 3, 10);
  Fixture f(network, 3);
  const auto before = f.members.values.clone();
  auto stepper = f.stepper({kCrossEntropy, {"gradcam", {.weight = 0.1}, {}}}, {}, true);
  stepper.accumulate(input_of({batch(4, 1)}), 1);
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
  EXPECT_EQ(scale.of_outputs(), 1);
  scale.start();
  EXPECT_EQ(scale.of_outputs(), 256);
  scale.observe(false);
  EXPECT_EQ(scale.value, 32768);
  EXPECT_EQ(scale.of_outputs(), 128);
  for (int i = 0; i < 4000; ++i) scale.observe(true);
  EXPECT_EQ(scale.value, 131072);
  EXPECT_EQ(scale.of_outputs(), 256);
}

// f16 has 11 bits: each of the some ten products and additions that a derivative of a LeNet comes
// through rounds by 2^-11.
constexpr double kHalfEps = 0x1p-11, kHalfTolerance = 100 * kHalfEps;

// A LeNet under autocast on the CPU, or in f32. slope: factor of its last layer, and so of all
// derivatives.
struct HalfLeNet {
  LeNet network{3, 10};
  at::Tensor flat = at::empty({network.layout().size()}, at::kFloat),
             buffers = at::empty({0}, at::kFloat);
  ImageRows rows = batch(64, 1);

  explicit HalfLeNet(double slope) {
    network.initialise(flat, 3, 0);
    parameter(flat, *network.layout().find("fc.weight")).mul_(slope);
    rows.x = rows.x.to(at::kFloat);
  }
  // Logits [1, 64, 10] and maps of x.
  std::pair<at::Tensor, at::Tensor> operator()(const at::Tensor& x, at::ScalarType compute) {
    const Autocast half(at::kCPU, compute);
    const auto parameters = unpack(flat.detach().clone().requires_grad_(), network.layout());
    auto out = network.forward(parameters, buffers, x, true);
    return {out.logits.unsqueeze(0), out.maps};
  }
};

double relative(const at::Tensor& found, const at::Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}
double share(const at::Tensor& where) { return where.to(at::kDouble).mean().item<double>(); }

TEST(HalfPrecision, AdversarialInputsOfTheScaledLossLoseNoSign) {
  HalfLeNet net(1);
  const auto moves = [&](at::ScalarType compute, double scale, at::Tensor* overflow = nullptr) {
    const auto x = net.rows.x.unsqueeze(0).clone().requires_grad_();
    const auto logits = net(x[0], compute).first;
    const auto loss = losses::cross_entropy(logits, net.rows.labels).mean() / 5;  // of 5 members
    return losses::adversarial_inputs(loss, x, 1, scale, overflow) - x.detach();
  };
  at::Tensor overflow;
  const auto expected = moves(at::kFloat, 1), lost = moves(at::kHalf, 1),
             found = moves(at::kHalf, 65536, &overflow);
  const auto wanted = expected != 0;
  const auto zeros = [&](const at::Tensor& m) { return share((m == 0).logical_and(wanted)); };
  EXPECT_GT(zeros(lost), 0.01);  // what the unscaled loss loses
  EXPECT_LT(zeros(found), zeros(lost) / 100);
  // A derivative near 0, where sums of both signs cancel, may take the other sign.
  EXPECT_GT(share((found == expected).logical_or(wanted.logical_not())), 1 - kHalfTolerance);
  EXPECT_EQ(overflow.item<double>(), 0);
  const auto clipped = moves(at::kHalf, 1e12, &overflow);
  EXPECT_TRUE(std::isnan(overflow.item<double>()));
  EXPECT_TRUE(clipped.isfinite().all().item<bool>());
}

TEST(HalfPrecision, MapsAndInputGradientsAreThoseOfF32) {
  // Derivatives near the smallest f16, 2^-24, as those of members that are sure of themselves, of
  // weights above it.
  HalfLeNet net(1e-3);
  const auto gradients = [&](at::ScalarType compute, double scale) {
    const auto x = net.rows.x.clone().requires_grad_();
    const auto logits = net(x, compute).first;
    return losses::input_gradients(logits, net.rows.labels, losses::MemberInputs::each({x}), {},
                                   true, scale);
  };
  const auto maps = [&](at::ScalarType compute, double scale) {
    const auto [logits, own] = net(net.rows.x, compute);
    return losses::activation_maps(
        logits, net.rows.labels, losses::MemberInputs::each({own}),
        {.target = losses::GradCamTarget::kGtProb, .activation = losses::MapActivation::kNone}, {},
        true, scale);
  };
  for (const auto& of : {std::function(gradients), std::function(maps)}) {
    const auto expected = of(at::kFloat, 1), largest = of(at::kHalf, 8192);
    EXPECT_GT(relative(of(at::kHalf, 1), largest), 20 * kHalfEps);
    EXPECT_LT(relative(of(at::kHalf, 256), largest), 4 * kHalfEps);  // the smallest are subnormal
    // Where two neighbours are equal in f16, max pooling passes the derivative to another pixel.
    EXPECT_LT(relative(of(at::kHalf, 256), expected), 0.1);
    EXPECT_TRUE(at::equal(of(at::kFloat, 256), expected));  // a power of two rounds nothing
    const auto overflow = of(at::kHalf, 1e20);
    EXPECT_TRUE(overflow.isnan().all().item<bool>());
  }
}

// Members in f32 whose products are in f16 on the CPU.
struct HalfFixture {
  std::unique_ptr<Communicator> world = make_self_communicator();
  Grid grid{*world, {}};
  ImageMembers members;
  Optimizer optimizer;
  ImageStepper stepper;

  HalfFixture(std::shared_ptr<const ImageNetwork> network, std::vector<losses::LossTerm> terms,
              at::ScalarType compute)
      : members(make_members(std::move(network), 2, {0, 2}, 3, at::kFloat, at::kCPU)),
        optimizer({.kind = OptimizerKind::kSgd, .learning_rate = 1e-3, .momentum = 0},
                  members.values),
        stepper(members, {.terms = std::move(terms), .same_batch = false, .unlabelled = false},
                {.compute = compute}, grid, nullptr) {}
  void scale_fc(double factor) {
    stacked_parameter(members.values, *members.network->layout().find("fc.weight")).mul_(factor);
  }
  // The terms' values of one step.
  std::vector<double> step(const std::vector<ImageRows>& own) {
    const auto values = *stepper.accumulate(input_of(own, own[0]), 1);
    outcome = stepper.update(optimizer, 1e-3, Request::kNone);
    return stepper.term_values(values);
  }
  ImageStepper::Outcome outcome;
};
std::vector<ImageRows> single(std::vector<ImageRows> rows) {
  for (auto& part : rows) part.x = part.x.to(at::kFloat);
  return rows;
}

TEST(HalfPrecision, StepMovesImagesAndComparesMapsAsF32Does) {
  const losses::LossTerm small{"cross_entropy", {.weight = 1e-4}, {}},
      adversarial{
          "adversarial_cross_entropy", {.weight = 1}, losses::AdversarialOptions{.epsilon = 1}};
  const auto own = single({batch(8, 1), batch(8, 2)});
  const auto run = [&](std::vector<losses::LossTerm> terms, double slope, at::ScalarType compute) {
    HalfFixture f(std::make_shared<LeNet>(3, 10), std::move(terms), compute);
    f.scale_fc(slope);
    return f.step(own);
  };
  // With a derivative of 0 the images would not move, and the second would be the first.
  const auto expected = run({small, adversarial}, 1, at::kFloat),
             found = run({small, adversarial}, 1, at::kHalf);
  EXPECT_GT(expected[1] - expected[0], 0.1);
  EXPECT_NEAR(found[1] - found[0], expected[1] - expected[0],
              kHalfTolerance * (expected[1] - expected[0]));
  // Of two equal members, so small that without a scale all derivatives are 0, whose cosine is 0.
  const losses::LossTerm input_gradient{"input_gradient", {.weight = 0.1}, {}},
      gradcam{"gradcam",
              {.weight = 0.1},
              losses::GradCamOptions{.target = losses::GradCamTarget::kGtProb,
                                     .activation = losses::MapActivation::kNone}};
  for (const auto& term : {input_gradient, gradcam}) {
    SCOPED_TRACE(term.name);
    const auto likeness = [&](at::ScalarType compute) {
      HalfFixture f(std::make_shared<LeNet>(3, 10), {kCrossEntropy, term}, compute);
      f.scale_fc(1e-5);
      f.members.values[1].copy_(f.members.values[0]);
      return f.step(own)[1];
    };
    const double wanted = likeness(at::kFloat);
    EXPECT_GT(wanted, 0.02);  // not 1: what keeps the cosine from dividing by 0 is no longer small
    // So it goes with the square of derivatives, whose error the test above bounds by 0.1.
    EXPECT_NEAR(likeness(at::kHalf), wanted, 0.2 * wanted);
  }
}

TEST(HalfPrecision, DerivativeThatOverflowsSkipsTheStepAndLeavesRunningStatisticsFinite) {
  const losses::LossTerm adversarial{"adversarial_cross_entropy", {.weight = 1}, {}};
  at::manual_seed(4);
  for (const auto& term : {adversarial, losses::LossTerm{"gradcam", {.weight = 0.1}, {}},
                           losses::LossTerm{"input_gradient", {.weight = 0.1}, {}}}) {
    SCOPED_TRACE(term.name);
    const bool maps = term.name != "adversarial_cross_entropy";
    std::vector<ImageRows> own;
    for (int64_t m = 0; m < 2; ++m) {
      const int64_t size = maps ? 28 : 32;
      own.push_back({at::randn({2, 3, size, size}), at::arange(2, at::kLong), 2});
    }
    std::shared_ptr<const ImageNetwork> network;
    if (maps)
      network = std::make_shared<LeNet>(3, 10);
    else
      network = std::make_shared<ResNet>(ResNetOptions{.blocks = {1, 1, 1, 1}, .width = 8});
    HalfFixture f(network, {kCrossEntropy, term}, at::kHalf);
    if (maps)
      f.scale_fc(1e4);  // times 256 it is more than f16 holds
    else
      f.stepper.loss_scale().value = 0x1p40;
    const auto before = f.members.values.clone();
    const double scale = f.stepper.loss_scale().value;
    const auto values = f.step(own);
    EXPECT_TRUE(f.outcome.skipped);
    EXPECT_EQ(f.stepper.loss_scale().value, scale / 2);
    EXPECT_TRUE(at::equal(f.members.values, before));
    EXPECT_TRUE(f.members.buffers.isfinite().all().item<bool>());
    EXPECT_TRUE(maps || std::isfinite(values[1]));
    if (!maps) f.stepper.loss_scale().value = 65536;
    for (int steps = 0; f.outcome.skipped && steps < 30; ++steps) f.step(own);
    EXPECT_FALSE(f.outcome.skipped);
    EXPECT_TRUE(f.members.values.isfinite().all().item<bool>());
  }
}

}  // namespace
