#include <algorithm>
#include <cstdint>

#include <dissent/scores/neighbours.hpp>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "core/tensor_check.hpp"
#include "scores/bank.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"

namespace dissent::scores {
namespace {

constexpr double kNormEps = 1e-10;
constexpr int64_t kCfoodByDifferences = 2;  // cdist without a matrix product
constexpr uint64_t kOrderKey = 0xcf00d;     // other random numbers than the orders of a training

at::Tensor scaled(const at::Tensor& rows) { return rows / (rows.norm(2, {1}, true) + kNormEps); }

// numpy.linspace with the same bits: positions are truncated below.
at::Tensor linspace(double first, double last, int64_t count) {
  auto values = at::arange(count, at::kDouble)
                    .mul((last - first) / static_cast<double>(count - 1))
                    .add(first);
  values[count - 1] = last;
  return values;
}

struct Grid {
  at::Tensor fraction, position;  ///< [J] f64, [J] i64 increasing
};

Grid neighbour_grid(int64_t rows) {
  // OpenOOD's grid: finer where neighbourhoods are small.
  const auto fraction =
      at::cat({linspace(0.001, 0.1, 100), linspace(0.105, 0.5, 81), linspace(0.51, 0.99, 49)});
  const auto position = fraction.mul(static_cast<double>(rows)).sub(1).to(at::kLong);  // truncated

  // With few reference rows several fractions have the same position: only the first of each
  // counts.
  const auto grows =
      at::cat({at::ones({1}, at::kBool), position.slice(0, 1).gt(position.slice(0, 0, -1))});
  return {fraction.masked_select(grows), position.masked_select(grows)};
}

at::Tensor drawn_rows(const FitData& data, const CfoodOptions& options, int64_t n,
                      at::Device device) {
  const auto count =
      options.alpha < 1 ? static_cast<int64_t>(options.alpha * static_cast<double>(n)) : n;

  DISSENT_CHECK(count >= 2, kUsage,
                "cfood: alpha: expected a reference set of 2 rows or more, found {} of {}", count,
                n);

  if (options.alpha >= 1) return at::arange(n, at::TensorOptions(at::kLong).device(device));

  // The caller's order (a permutation of the rows) takes the place of a random one: with it the
  // reference set of another implementation can be reproduced.
  const auto& order = data.order;
  if (!order.defined()) {
    auto drawn =
        Random(static_cast<uint64_t>(options.seed), Purpose::kOrder, kOrderKey).permutation(n);
    drawn.resize(count);
    return at::tensor(drawn, at::kLong).to(device);
  }
  check_labels("cfood", "order", order, n, n, device);
  return order.narrow(0, 0, count);
}

// Distances of each row to its neighbours at grid positions + 1, [n, J].
at::Tensor neighbour_distances(const at::Tensor& bank, const at::Tensor& position,
                               int64_t block_rows) {
  const int64_t n = bank.size(0),
                rows = std::max<int64_t>(1, std::min(block_rows, block_rows * block_rows / n));

  // A row is its own nearest neighbour, at distance 0, so 1 is added. A task holds [rows, n]
  // distances, so rows is chosen such that they are about as large as a block of block_rows^2.
  const auto place = (position + 1).to(bank.device());

  auto distances = at::empty({n, position.size(0)}, bank.options().dtype(at::kDouble));
  const auto block = [&](int64_t task) {
    const int64_t first = task * rows, count = std::min(rows, n - first);
    const auto own = scaled(bank.narrow(0, first, count).to(at::kDouble));
    auto all = at::empty({count, n}, own.options());
    for_blocks(bank, block_rows, [&](const at::Tensor& other, int64_t at_row) {
      all.narrow(1, at_row, other.size(0))
          .copy_(at::cdist(own, scaled(other), 2.0, kCfoodByDifferences));
    });

    // The whole row is sorted: the grid needs neighbours of many ranks, up to 0.99 n.
    distances.narrow(0, first, count).copy_(std::get<0>(all.sort(1)).index_select(1, place));
  };

  // Tasks write different rows of the result. On a GPU one block is enough to use the whole
  // device.
  const int64_t blocks = divide_up(n, rows);
  if (bank.device().is_cpu())
    parallel_tasks(blocks, block);
  else
    for (int64_t i = 0; i < blocks; ++i) block(i);
  return distances;
}

}  // namespace

State fit_cfood(const FitData& data, const CfoodOptions& options) {
  const auto features = checked_features("cfood", "training", data.train);
  DISSENT_CHECK(options.alpha > 0 && options.alpha <= 1, kUsage,
                "cfood: alpha: expected a number above 0 and at most 1, found {}", options.alpha);
  check_range("cfood", "k", options.k, 0, 1);

  // Features are kept as they are (f32 or f64): blocks are scaled in f64 when they are read.
  State state =
      bank_state("cfood", {{"k", at::scalar_tensor(options.k, at::kDouble)}}, options.block_rows);
  const auto bank =
      features.index_select(0, drawn_rows(data, options, features.size(0), features.device()));

  // Distances of each reference row to its neighbours on the grid: its neighbourhoods.
  const auto grid = neighbour_grid(bank.size(0));
  state["bank"] = bank;
  state["kval"] = grid.fraction.to(bank.device());
  state["kpos"] = grid.position.to(bank.device());
  state["distances"] = neighbour_distances(bank, grid.position, options.block_rows);
  return state;
}

at::Tensor score_cfood(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  static_cast<void>(logits);
  const auto &bank = from_state("cfood", state, "bank"),
             &distances = from_state("cfood", state, "distances"),
             &fraction = from_state("cfood", state, "kval");
  const double k = number_from_state("cfood", state, "k");

  const auto block_rows = count_from_state("cfood", state, "block_rows"), grid = distances.size(1);
  const auto score = [&](const at::Tensor& h, const at::Tensor&) {
    const auto query = scaled(h);
    // enter[j]: number of reference rows whose neighbourhood contains the sample from grid place j
    // on; the last place: in no neighbourhood.
    auto enter = at::zeros({grid + 1, h.size(0)}, h.options());
    for_blocks(bank, block_rows, [&](const at::Tensor& block, int64_t first) {
      const auto to_query = at::cdist(scaled(block), query, 2.0, kCfoodByDifferences);

      // Distances of a row increase along the grid, so the first place whose distance is at least
      // that of the sample is where its neighbourhood starts to contain it.
      const auto place =
          at::searchsorted(distances.narrow(0, first, block.size(0)).contiguous(), to_query);
      enter.scatter_add_(0, place, at::ones_like(to_query));
    });

    // The smallest grid fraction at which a share of k of the reference rows contains the sample.
    const auto share = enter.narrow(0, 0, grid).cumsum(0) / static_cast<double>(bank.size(0));
    const auto held = share.ge(k);
    const auto smallest = fraction.index_select(0, held.to(at::kLong).argmax(0));
    return at::where(held.any(0), smallest, at::ones_like(smallest)).neg();
  };
  return score_rows({"cfood", features, {}, bank.size(1), 0}, score, block_rows);
}

}  // namespace dissent::scores
