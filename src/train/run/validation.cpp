#include "train/run/validation.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "core/stop.hpp"
#include "ensemble/exchange.hpp"

namespace dissent {
namespace {

// Columns of the table with one row per block: correct answers of each member, then these.
enum Column : int64_t { kEnsembleCorrect, kNllSum, kRows, kColumnsAfterMembers };

void score_block(const at::Tensor& logits, const at::Tensor& labels, at::Tensor row) {
  // The ensemble is the mean of the logits, before the softmax. Its likelihood is taken in f64, so
  // that a sum over many rows keeps its digits.
  const int64_t members = logits.size(0);
  const auto mean = logits.mean(0);
  const auto log_likelihood =
      at::log_softmax(mean.to(at::kDouble), 1).gather(1, labels.unsqueeze(1));

  row.narrow(0, 0, members).copy_(logits.argmax(2).eq(labels).sum(1));
  row[members + kEnsembleCorrect].copy_(mean.argmax(1).eq(labels).sum());
  row[members + kNllSum].copy_(log_likelihood.neg().sum());
  row[members + kRows].fill_(static_cast<double>(labels.size(0)));
}

bool any_rank_stops(Communicator& run) {
  auto stop = at::full({1}, static_cast<int64_t>(stop_requested()), at::kLong);
  if (run.size() > 1) run.all_reduce(stop, ReduceOp::kMax);
  return stop.item<int64_t>() != 0;
}

}  // namespace

bool validate(TrainingEngine& engine, Grid& grid, EpochRecord& record) {
  const at::NoGradGuard no_graph;
  const auto plan = *engine.validation();
  const int64_t blocks = plan.blocks(), members = engine.members();
  auto table = at::zeros({blocks, members + kColumnsAfterMembers}, at::kDouble);

  // One round per block of each data rank. Ranks look at the stop flag together after a round, so
  // that none waits for a gather that another rank has left out.
  for (int64_t round = 0; round < blocks; round += grid.shape.data) {
    const int64_t block = round + grid.data_part, next = block + grid.shape.data;
    if (block < blocks) {
      const auto local =
          engine.validate_block(block, next < blocks ? std::optional<int64_t>(next) : std::nullopt);
      if (local.logits.defined()) {
        const auto logits = gather_members(*grid.members, local.logits, members);
        if (grid.member_part == 0) score_block(logits, local.labels, table[block]);
      }
    }
    if (any_rank_stops(*grid.run)) return false;
  }

  // Each row was filled in by one rank, the others have zeros: the sum over ranks is exact, and the
  // sum over blocks is taken in their order, the same on every rank.
  grid.run->all_reduce(table, ReduceOp::kSum);
  auto sums = table.sum(0);
  sums.div_(sums[members + kRows].clone());

  const auto accuracies = sums.narrow(0, 0, members);
  record.accuracy_best = accuracies.max().item<double>();
  record.accuracy_mean = accuracies.mean().item<double>();
  record.accuracy_ensemble = sums[members + kEnsembleCorrect].item<double>();
  record.nll = sums[members + kNllSum].item<double>();
  return true;
}

}  // namespace dissent
