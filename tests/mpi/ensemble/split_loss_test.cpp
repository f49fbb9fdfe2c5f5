// Every loss of the table on members, or rows, that ranks share: the value and the derivative of
// one rank.
#include "ensemble/split_loss.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "ensemble/exchange.hpp"
#include "expect_error.hpp"
#include "loss_variants.hpp"
#include "mpi/ensemble/split_ensemble.hpp"
#include "mpi_main.hpp"

using namespace dissent;
using namespace dissent::losses;
using dissent::testing::expect_error;
using dissent::testing::SplitEnsemble;
using dissent::testing::world;
using E = SplitEnsemble;

namespace {

struct Case : dissent::testing::LossVariant {
  bool stacked = false;     // maps and images of all members in one tensor
  bool own_labels = false;  // each member has its own batch
};

// Made from the table of losses, so that a new loss is covered without a line here: every variant
// of its options; stacked inputs if it reads what members computed, or were given, one by one;
// labels of each member for base losses, whose members may have their own batches.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& variant : dissent::testing::all_loss_variants()) {
    const auto& loss = find_loss(variant.loss);
    const auto traits = traits_of(loss, variant.options);
    all.push_back({variant});
    if (loss.member_maps || traits.needs_moved_inputs) all.push_back({variant, true});
    if (loss.kind == LossKind::kBase && traits.exchanged.empty())
      all.push_back({variant, traits.needs_moved_inputs, true});
  }
  return all;
}

std::string text(const Case& one) {
  return fmt::format("{}{}{}{} on {} ranks", one.loss, one.note, one.stacked ? " stacked" : "",
                     one.own_labels ? " a batch of each member" : "", world().size());
}

struct Result {
  at::Tensor value;     // scalar
  at::Tensor gradient;  // [M, weights of a member]
};

at::Tensor flat_gradient(const at::Tensor& value, const std::vector<at::Tensor>& weights) {
  std::vector<at::Tensor> rows, parts;
  const auto gradients =
      torch::autograd::grad({value}, weights, {}, std::nullopt, false,
                            /*allow_unused=*/true);  // features do not depend on V
  for (size_t i = 0; i < weights.size(); ++i) {
    parts.push_back(gradients[i].defined() ? gradients[i].flatten()
                                           : at::zeros_like(weights[i]).flatten());
    if (parts.size() < 2) continue;
    rows.push_back(at::cat(parts));
    parts.clear();
  }
  return at::stack(rows);
}

E made(const Case& one, at::ScalarType dtype) {
  return {.dtype = dtype, .stacked = one.stacked, .own_labels = one.own_labels};
}

// The whole ensemble and batch here, by losses::evaluate alone.
Result on_one_rank(const Case& one, at::ScalarType dtype) {
  const auto all = made(one, dtype).local({0, E::kMembers}, {0, E::kRows}, {0, E::kUnlabelled});
  const auto value = evaluate(one.loss, all.input, one.options);
  return {value.detach(), flat_gradient(value, all.weights)};
}

E::Local local_part(const E& ensemble, const Grid& grid) {
  const auto& [runs, members, data] = grid.shape;
  return ensemble.local(part_of(E::kMembers, members, grid.member_part),
                        part_of(E::kRows, data, grid.data_part),
                        part_of(E::kUnlabelled, data, grid.data_part));
}

EnsembleSplit split_of(Grid& grid) {
  return {*grid.run, *grid.members, *grid.data, E::kMembers, E::kRows, E::kUnlabelled};
}

Result on_ranks(const Case& one, at::ScalarType dtype, Grid& grid) {
  const auto local = local_part(made(one, dtype), grid);
  const auto value = split_loss(one.loss, local.input, one.options, split_of(grid));
  auto gradient = flat_gradient(value, local.weights);
  grid.data->all_reduce(gradient, ReduceOp::kSum);
  return {value.detach(), gather_members(*grid.members, gradient, E::kMembers)};
}

double largest(const at::Tensor& values) { return values.abs().max().item<double>(); }

// Counts what is gathered.
class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(Communicator& inner) : inner_(inner) {}
  int64_t elements = 0;
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  Backend backend() const override { return inner_.backend(); }
  void all_reduce(at::Tensor& values, ReduceOp op) override {
    elements += values.numel();
    inner_.all_reduce(values, op);
  }
  at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) override {
    for (const int64_t count : counts) elements += count;
    return inner_.all_gather(local, counts);
  }
  void broadcast(at::Tensor& values, int root) override { inner_.broadcast(values, root); }
  void barrier() override { inner_.barrier(); }
  std::unique_ptr<Communicator> split(int colour, int key) override {
    return inner_.split(colour, key);
  }
  std::unique_ptr<Communicator> split_by_node() override { return inner_.split_by_node(); }

 private:
  Communicator& inner_;
};

// Elements that one member has of a field that is exchanged.
int64_t elements_per_member(const Case& one, Field field) {
  switch (field) {
    case Field::kLogits: return E::kRows * E::kClasses;
    case Field::kFeatures: return E::kRows * E::kMaps;
    case Field::kInputGradients:
    case Field::kSaliencyMaps: {
      const auto all = made(one, at::kFloat).local({0, 1}, {0, E::kRows}, {0, E::kUnlabelled});
      return find_loss(one.loss).member_maps(all.input, one.options, false).numel();
    }
    default: return -1000000;
  }
}

// Whether a loss reads outputs of members that it does not exchange: ranks then send values.
bool sends_values(const LossTraits& traits) {
  const auto outputs = {Field::kLogits, Field::kFeatures, Field::kUnlabelledLogits,
                        Field::kAdversarialLogits};
  return std::ranges::any_of(traits.needs, [&](Field field) {
    return std::ranges::count(outputs, field) > 0 &&
           std::ranges::count(traits.exchanged, field) == 0;
  });
}

}  // namespace

TEST(SplitLoss, MembersOverRanksGiveTheBitsOfOneRank) {
  Grid grid(world(), {1, world().size(), 1});
  for (const auto& one : cases())
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      const auto expected = on_one_rank(one, dtype), found = on_ranks(one, dtype, grid);
      EXPECT_TRUE(at::equal(expected.value, found.value))
          << text(one) << ": " << dtype << " value off by "
          << largest(expected.value - found.value);
      EXPECT_TRUE(at::equal(expected.gradient, found.gradient))
          << text(one) << ": " << dtype << " gradient off by "
          << largest(expected.gradient - found.gradient);
      EXPECT_TRUE(found.value.isfinite().item<bool>() && largest(found.gradient) > 1e-7)
          << text(one) << ": nothing was compared";
      for (int64_t m = 0; m < E::kMembers; ++m)
        EXPECT_GT(largest(found.gradient[m]), 0) << text(one) << ": member " << m;
    }
}

// Each rank's network sees other rows, and sums over rows are taken in another order: a thousand
// roundings of f64. And 1e-15, a few roundings of 1, because mutual information is a small
// difference of entropies near 1.
TEST(SplitLoss, RowsOverRanksGiveTheValueOfOneRankToRounding) {
  const int64_t size = world().size();
  std::vector<GridShape> shapes{{1, 1, size}};
  if (size == 4) shapes.push_back({1, 2, 2});
  for (const auto& shape : shapes) {
    Grid grid(world(), shape);
    for (const auto& one : cases()) {
      const auto expected = on_one_rank(one, at::kDouble), found = on_ranks(one, at::kDouble, grid);
      EXPECT_LE(largest(expected.value - found.value), 1e-12 * largest(expected.value) + 1e-15)
          << text(one);
      EXPECT_LE(largest(expected.gradient - found.gradient),
                1e-12 * largest(expected.gradient) + 1e-15)
          << text(one);
      auto values = at::stack({found.value, found.value.neg()});
      world().all_reduce(values, ReduceOp::kMax);
      EXPECT_EQ(values[0].item<double>(), -values[1].item<double>())
          << text(one) << ": ranks have different values";
    }
  }
}

TEST(SplitLoss, SendsOverMembersWhatTheLossDeclares) {
  Grid grid(world(), {1, world().size(), 1});
  for (const auto& one : cases()) {
    const auto& loss = find_loss(one.loss);
    const auto traits = traits_of(loss, one.options);
    int64_t expected = 0;
    for (const auto field : traits.exchanged) expected += elements_per_member(one, field);
    if (!loss.member_maps && sends_values(traits)) expected += 1;
    CountingCommunicator counted(*grid.members);
    const auto local = local_part(made(one, at::kFloat), grid);
    const auto value =
        split_loss(one.loss, local.input, one.options,
                   {*grid.run, counted, *grid.data, E::kMembers, E::kRows, E::kUnlabelled});
    const auto forward = counted.elements;
    EXPECT_EQ(forward, world().size() == 1 ? 0 : expected * E::kMembers) << text(one);
    flat_gradient(value, local.weights);
    EXPECT_EQ(counted.elements, forward) << text(one) << ": the backward pass communicates";
  }
}

TEST(SplitLoss, WithoutGradientsHasTheSameBits) {
  Grid grid(world(), {1, world().size(), 1});
  for (const auto& one : cases()) {
    const auto local = local_part(made(one, at::kFloat), grid);
    const auto value = split_loss(one.loss, local.input, one.options, split_of(grid));
    const at::NoGradGuard no_grad;
    const auto alone = split_loss(one.loss, local.input, one.options, split_of(grid));
    EXPECT_TRUE(at::equal(value, alone) && !alone.requires_grad()) << text(one);
  }
}

TEST(SplitLoss, OneMemberIsAnErrorOfEveryRank) {
  Grid grid(world(), {1, 1, world().size()});
  auto split = split_of(grid);
  split.total = 1;
  const auto local = E{}.local({0, 1}, part_of(E::kRows, world().size(), grid.data_part),
                               part_of(E::kUnlabelled, world().size(), grid.data_part));
  for (const auto& one : cases()) {
    if (traits_of(find_loss(one.loss), one.options).min_members < 2 || one.stacked) continue;
    expect_error(ErrorKind::kUsage, one.loss + ": members: expected at least 2",
                 [&] { split_loss(one.loss, local.input, one.options, split); });
  }
  Grid members(world(), {1, world().size(), 1});
  auto few = split_of(members);
  few.total = world().size() - 1;
  expect_error(ErrorKind::kUsage, "a2d: members: expected at least",
               [&] { split_loss("a2d", local.input, {}, few); });
}

// What is wrong on the last rank alone. Every rank says so, and all are in step afterwards.
TEST(SplitLoss, AMistakeOfOneRankIsAnErrorOfEveryRank) {
  const int64_t size = world().size(), last = size - 1;
  std::vector<GridShape> shapes{{1, size, 1}, {1, 1, size}};
  if (size == 4) shapes.push_back({1, 2, 2});
  for (const auto& shape : shapes) {
    Grid grid(world(), shape);
    const auto good = local_part({}, grid).input;
    const auto expect = [&](const std::string& loss, const std::string& message,
                            const std::function<void(LossInput&)>& spoil) {
      auto input = good;
      if (world().rank() == last) spoil(input);
      expect_error(ErrorKind::kUsage, message,
                   [&] { split_loss(loss, input, {}, split_of(grid)); });
      EXPECT_TRUE(split_loss(loss, good, {}, split_of(grid)).isfinite().item<bool>());
    };
    const auto by_rank = [&](const std::string& text) {
      return size == 1 ? text : fmt::format("rank {}: {}", last, text);
    };
    const auto field = [&](const std::string& text) {
      return fmt::format("{}: rank {}: expected", text, last);
    };
    const auto longer = [](at::Tensor& tensor, int64_t dim) {
      tensor = at::cat({tensor, tensor.narrow(dim, 0, 1)}, dim);
    };
    expect("a2d", field("a2d: logits"), [&](LossInput& in) { longer(in.logits, 0); });
    expect("a2d", field("a2d: logits"), [&](LossInput& in) { longer(in.logits, 1); });
    expect("kl_backward", field("kl_backward: unlabelled logits"),
           [&](LossInput& in) { longer(in.unlabelled_logits, 1); });
    expect("oe", field("oe: unlabelled logits"),
           [&](LossInput& in) { in.unlabelled_logits = at::Tensor(); });
    expect("cross_entropy", field("cross_entropy: labels"),
           [&](LossInput& in) { longer(in.labels, 0); });
    if (size > 1) {
      expect("ncl", field("ncl: logits"), [&](LossInput& in) { longer(in.logits, 2); });
      expect("adp", field("adp: logits"),
             [&](LossInput& in) { in.logits = in.logits.to(at::kFloat); });
      expect("divdis", field("divdis: logits") + " [",
             [&](LossInput& in) { in.logits = at::Tensor(); });
    }
    expect("cross_entropy", "cross_entropy: labels: expected class numbers 0 .. 5, found",
           [&](LossInput& in) { in.labels = in.labels + 6; });
    expect("adp", "adp: labels: expected class numbers 0 .. 5, found",
           [&](LossInput& in) { in.labels = in.labels + 6; });
    expect("gradcam", by_rank("gradcam: labels: expected ["),
           [&](LossInput& in) { longer(in.labels, 0); });
    expect("gradcam", by_rank("gradcam: feature maps: expected it, found nothing"),
           [&](LossInput& in) { in.feature_maps.reset(); });
    expect("input_gradient", by_rank("input_gradient: images: expected it, found nothing"),
           [&](LossInput& in) { in.images.reset(); });
    auto few = split_of(grid);
    few.rows = 0;
    expect_error(ErrorKind::kUsage, "rows: expected at least one for each of",
                 [&] { split_loss("gradcam", good, {}, few); });
  }
}
