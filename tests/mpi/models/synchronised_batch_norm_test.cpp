// BatchNorm over a batch that ranks share against torch's over the whole of it: values, derivatives
// of both orders, running statistics, for every way of splitting the rows.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/networks/synchronised_batch_norm.hpp"

#include <gtest/gtest.h>
#include <dissent/error.hpp>

#include "comm/grid.hpp"
#include "models/networks/resnet.hpp"
#include "mpi_main.hpp"

using namespace dissent;
using dissent::testing::world;

namespace {

constexpr int64_t kChannels = 3;
constexpr double kEps = 1e-5, kMomentum = 0.1;

// Rows of each rank; one of them has none where there are several.
std::vector<std::vector<int64_t>> splits(int64_t rows) {
  const int ranks = world().size();
  std::vector<int64_t> even, all_on_last(ranks, 0), uneven(ranks, 0);
  for (int r = 0; r < ranks; ++r) even.push_back(part_of(rows, ranks, r).count);
  all_on_last.back() = rows;
  uneven[0] = rows - 1;
  uneven.back() += 1;
  return {even, uneven, all_on_last};
}

at::Tensor own(const at::Tensor& x, const std::vector<int64_t>& counts) {
  int64_t first = 0;
  for (int r = 0; r < world().rank(); ++r) first += counts[r];
  return x.narrow(0, first, counts[world().rank()]);
}

at::Tensor summed(const at::Tensor& values) {
  auto sum = values.contiguous().clone();
  world().all_reduce(sum, ReduceOp::kSum);
  return sum;
}

struct Layer {
  at::Tensor weight, bias, running_mean, running_variance;
  explicit Layer(at::ScalarType type) {
    at::manual_seed(2);
    weight = at::rand({kChannels}, type) + 0.5;
    bias = at::randn({kChannels}, type);
    running_mean = at::randn({kChannels}, type);
    running_variance = at::rand({kChannels}, type) + 0.5;
    weight.requires_grad_();
    bias.requires_grad_();
  }
  SplitBatchNorm split() const {
    return {weight, bias, running_mean, running_variance, kMomentum, kEps, world()};
  }
  at::Tensor whole(const at::Tensor& x) const {
    return at::batch_norm(x, weight, bias, running_mean, running_variance, true, kMomentum, kEps,
                          false);
  }
};

using Norm = at::Tensor (*)(const at::Tensor&, const SplitBatchNorm&);
constexpr Norm kNorms[] = {synchronised_batch_norm, composed_batch_norm};

// Far from 0, where a mean of squares less a square of means would lose most of its digits in f32.
at::Tensor images(int64_t rows, at::ScalarType type) {
  at::manual_seed(1);
  return (at::randn({rows, kChannels, 5, 3}, at::kDouble) * 2 + 30).to(type);
}

void expect_close(const at::Tensor& given, const at::Tensor& wanted, double tolerance,
                  const char* what) {
  const double scale = wanted.numel() > 0 ? std::max(1.0, wanted.abs().max().item<double>()) : 1,
               worst = given.numel() > 0 ? (given - wanted).abs().max().item<double>() : 0;
  EXPECT_LE(worst, tolerance * scale) << what;
}

TEST(SynchronisedBatchNorm, IsThatOfTheWholeBatch) {
  for (const auto type : {at::kDouble, at::kFloat}) {
    // f32: values near 1 made of values near 30 with an error of 30 epsilons.
    const double tolerance = type == at::kDouble ? 1e-12 : 100 * 1.2e-7;
    const auto x = images(7, type);
    at::manual_seed(5);
    const auto pull = at::randn(x.sizes(), type);
    for (const auto norm : kNorms)
      for (const auto& counts : splits(7)) {
        const Layer one(type), layer(type);
        const auto all_x = x.clone().requires_grad_(),
                   own_x = own(x, counts).clone().requires_grad_();
        const auto wanted = one.whole(all_x), given = norm(own_x, layer.split());
        expect_close(given, own(wanted, counts), tolerance, "y");
        expect_close(layer.running_mean, one.running_mean, tolerance, "running mean");
        expect_close(layer.running_variance, one.running_variance, tolerance, "running variance");
        const auto right =
            torch::autograd::grad({(wanted * pull).sum()}, {all_x, one.weight, one.bias});
        const auto got = torch::autograd::grad({(given * own(pull, counts)).sum()},
                                               {own_x, layer.weight, layer.bias});
        expect_close(got[0], own(right[0], counts), tolerance, "dx");
        expect_close(summed(got[1]), right[1], tolerance, "dweight");
        expect_close(summed(got[2]), right[2], tolerance, "dbias");
      }
  }
}

TEST(SynchronisedBatchNorm, RunningStatisticsHaveTheSameBitsOnEveryRank) {
  Layer layer(at::kFloat);
  synchronised_batch_norm(own(images(7, at::kFloat), splits(7)[0]), layer.split());
  const auto mine = at::cat({layer.running_mean, layer.running_variance});
  auto first = mine.clone();
  world().broadcast(first, 0);
  EXPECT_TRUE(at::equal(mine, first));
}

TEST(SynchronisedBatchNorm, HalfPrecisionGoesThrough) {
  const auto x = images(6, at::kDouble) - 30;
  const Layer one(at::kDouble);
  const auto single = [](const at::Tensor& values) { return values.detach().to(at::kFloat); };
  const auto counts = splits(6)[0];
  const auto given =
      synchronised_batch_norm(own(x, counts).to(at::kBFloat16),
                              {single(one.weight), single(one.bias), single(one.running_mean),
                               single(one.running_variance), kMomentum, kEps, world()});
  EXPECT_EQ(given.scalar_type(), at::kBFloat16);
  expect_close(given.to(at::kDouble), own(one.whole(x), counts), 4 * 0x1p-8,
               "y");  // x and y are rounded to 8 bits
}

// What a saliency loss does: a function of the derivative with respect to x, differentiated.
at::Tensor of_derivative(const at::Tensor& y, const at::Tensor& x, const at::Tensor& pull,
                         const at::Tensor& other) {
  const auto slope = torch::autograd::grad({(y.tanh() * pull).sum()}, {x}, {}, true, true)[0];
  return ((slope * 10).sin() * other).sum() + (y * y * pull).sum();
}

TEST(SynchronisedBatchNorm, SecondDerivativesAreThoseOfTheWholeBatch) {
  const auto x = images(5, at::kDouble);
  at::manual_seed(6);
  const auto pull = at::randn(x.sizes(), at::kDouble), other = at::randn(x.sizes(), at::kDouble);
  for (const auto norm : kNorms)
    for (const auto& counts : splits(5)) {
      const Layer one(at::kDouble), layer(at::kDouble);
      const auto all_x = x.clone().requires_grad_(),
                 own_x = own(x, counts).clone().requires_grad_();
      const auto wanted = of_derivative(one.whole(all_x), all_x, pull, other);
      const auto given =
          of_derivative(norm(own_x, layer.split()), own_x, own(pull, counts), own(other, counts));
      expect_close(summed(given), wanted, 1e-12, "value");
      const auto right = torch::autograd::grad({wanted}, {all_x, one.weight, one.bias});
      const auto got = torch::autograd::grad({given}, {own_x, layer.weight, layer.bias});
      expect_close(got[0], own(right[0], counts), 1e-11,
                   "dx");  // through two divisions by a deviation of 2 and the factor 10
      expect_close(summed(got[1]), right[1], 1e-11, "dweight");
      expect_close(summed(got[2]), right[2], 1e-11, "dbias");
    }
}

TEST(SynchronisedBatchNorm, SecondDerivativesAreThoseOfFiniteDifferences) {
  // Every rank moves the same value of the whole batch and gets the total over ranks; its own graph
  // reaches its own rows.
  const auto x = images(4, at::kDouble).narrow(3, 0, 1) - 29;
  at::manual_seed(6);
  const auto pull = at::randn(x.sizes(), at::kDouble), other = at::randn(x.sizes(), at::kDouble);
  const auto counts = splits(4)[0];
  const auto own_part = [&](const at::Tensor& whole) {
    const Layer layer(at::kDouble);
    const auto own_x = own(whole, counts);
    return of_derivative(synchronised_batch_norm(own_x, layer.split()), own_x, own(pull, counts),
                         own(other, counts));
  };
  const auto whole = x.clone().requires_grad_();
  const auto gradient = summed(torch::autograd::grad({own_part(whole)}, {whole})[0]);
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < x.numel(); i += 7) {  // of every channel and row
    const auto at_distance = [&](double distance) {
      auto moved = x.clone(at::MemoryFormat::Contiguous);
      moved.view(-1)[i].add_(distance);
      return summed(own_part(moved.requires_grad_()).detach()).item<double>();
    };
    const double difference = (at_distance(kStep) - at_distance(-kStep)) / (2 * kStep);
    EXPECT_NEAR(gradient.reshape(-1)[i].item<double>(), difference,
                1e-6);  // a sixth of the step squared times a third derivative of the order of 10^3
  }
}

TEST(SynchronisedBatchNorm, OneValueAChannelIsRefusedOnEveryRank) {
  const Layer layer(at::kDouble);
  const auto x = at::zeros({world().rank() == 0 ? 1 : 0, kChannels, 1, 1}, at::kDouble);
  for (const auto norm : kNorms) EXPECT_THROW(norm(x, layer.split()), Error);
}

// A network: the layers of one rank's graph wait for those of the others in both directions, one
// rank having no rows.
TEST(SynchronisedBatchNorm, ANetworkIsThatOfTheWholeBatch) {
  const ResNet network({.classes = 4, .blocks = {1, 1, 1, 1}, .width = 4});
  at::manual_seed(3);
  const auto x = at::randn({5, 3, 16, 16}, at::kDouble), pull = at::randn({5, 4}, at::kDouble);
  for (const auto& counts : splits(5)) {
    auto flat = at::empty({network.layout().size()}, at::kDouble);
    network.initialise(flat, 3, 0);
    flat.requires_grad_();
    auto buffers = at::empty({network.buffer_layout().size()}, at::kDouble);
    network.initialise_buffers(buffers);
    auto own_buffers = buffers.clone();
    const auto derivative = [&](const at::Tensor& rows, const at::Tensor& weights,
                                const at::Tensor& running, Communicator* data) {
      const auto out = network.forward(unpack(flat, network.layout()), running, rows, true, data);
      const auto maps =
          torch::autograd::grad({(out.logits * weights).sum()}, {out.maps}, {}, true, true)[0];
      return torch::autograd::grad({(maps.square() * out.maps).sum() + out.logits.square().sum()},
                                   {flat})[0];
    };
    const auto wanted = derivative(x, pull, buffers, nullptr);
    const auto given = summed(derivative(own(x, counts), own(pull, counts), own_buffers, &world()));
    expect_close(given, wanted, 1e-11, "gradient");
    expect_close(own_buffers, buffers, 1e-12, "running statistics");
  }
}

}  // namespace
