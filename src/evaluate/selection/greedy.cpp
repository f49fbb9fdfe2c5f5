#include "evaluate/selection/greedy.hpp"

#include <dissent/scores/ensemble_output.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>

#include "core/parallel.hpp"
#include "core/stop.hpp"

namespace dissent {
namespace {

// Calls f(first, count) for each of this rank's blocks.
void own_blocks(Communicator& comm, const EvaluationSet& set, int64_t block_rows,
                const std::function<void(int64_t, int64_t)>& f) {
  for (int64_t first = comm.rank() * block_rows; first < set.rows();
       first += comm.size() * block_rows)
    f(first, std::min(block_rows, set.rows() - first));
}

// Terms whose sum over members predicts the class of the combined output.
at::Tensor contributions(const at::Tensor& logits, const EvaluateOptions& options) {
  // argmax of a mean is that of the sum, so members can be added one by one; a normalisation of
  // weights changes no class either.
  if (options.combine == Combine::kMeanProbabilities) return at::softmax(logits, -1);
  if (options.combine == Combine::kProductOfExperts) return at::log_softmax(logits, -1);
  if (options.weights.empty()) return logits;
  return logits * at::tensor(options.weights, logits.options()).view({-1, 1, 1});
}

int64_t first_largest(const std::vector<int64_t>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

}  // namespace

std::vector<int64_t> member_counts(Communicator& comm, const LoadedEnsemble& ensemble,
                                   const EvaluationSet& set, const EvaluateConfig& config) {
  SetOutputs outputs(comm, ensemble, set, config.outputs());
  auto counts = at::zeros({ensemble.members()}, at::kLong);
  agree(comm, [&] {
    own_blocks(comm, set, config.evaluate.block_rows, [&](int64_t first, int64_t count) {
      throw_if_stopped();
      const auto x = outputs.needs_inputs(first) ? set.inputs(first, count) : at::Tensor();
      const auto logits = outputs.read(first, count, x, all_of(ensemble.members()), false).logits;
      counts += logits.argmax(2).eq(set.labels(first, count)).sum(1);
    });
  });

  // Counts instead of accuracies: integers add up to the same number for any number of ranks.
  comm.all_reduce(counts, ReduceOp::kSum);
  const auto* values = counts.const_data_ptr<int64_t>();
  return {values, values + counts.numel()};
}

std::vector<int64_t> greedy_members(Communicator& comm, const LoadedEnsemble& ensemble,
                                    const EvaluationSet& set, const EvaluateConfig& config,
                                    const std::vector<int64_t>& correct) {
  // The outputs of all members are computed once and kept: [M, B, C] per block.
  SetOutputs outputs(comm, ensemble, set, config.outputs());
  const int64_t members = ensemble.members();
  std::vector<at::Tensor> blocks, labels, sums;
  agree(comm, [&] {
    own_blocks(comm, set, config.evaluate.block_rows, [&](int64_t first, int64_t count) {
      throw_if_stopped();
      const auto x = outputs.needs_inputs(first) ? set.inputs(first, count) : at::Tensor();
      blocks.push_back(contributions(outputs.read(first, count, x, all_of(members), false).logits,
                                     config.evaluate));
      labels.push_back(set.labels(first, count));
      sums.push_back(at::zeros_like(blocks.back()[0]));
    });
  });

  std::vector<int64_t> chosen;

  // Starts with the most accurate member, and adds the one with which most predictions are
  // correct, as long as that is more than without it.
  int64_t next = first_largest(correct);
  while (next >= 0) {
    chosen.push_back(next);
    for (size_t b = 0; b < blocks.size(); ++b) sums[b].add_(blocks[b][next]);

    // Correct predictions with each further member; the last count: without a further member.
    auto counts = at::zeros({members + 1}, at::kLong);
    auto* count = counts.data_ptr<int64_t>();
    parallel_tasks(members + 1, [&](int64_t m) {
      if (m < members && contains(chosen, m)) return;
      for (size_t b = 0; b < blocks.size(); ++b) {
        const auto sum = m < members ? sums[b] + blocks[b][m] : sums[b];
        count[m] += sum.argmax(1).eq(labels[b]).sum().item<int64_t>();
      }
    });
    comm.all_reduce(counts, ReduceOp::kSum);

    count = counts.data_ptr<int64_t>();

    // Counts are the same on all ranks, so all take the same member. Ties: the first one.
    int64_t most = count[members];
    next = -1;
    for (int64_t m = 0; m < members; ++m)
      if (count[m] > most && !contains(chosen, m)) {
        most = count[m];
        next = m;
      }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<int64_t> greedy_soup(Communicator& comm, const LoadedEnsemble& ensemble,
                                 const EvaluationSet& set, const EvaluateConfig& config,
                                 const std::vector<int64_t>& correct) {
  // Greedy soup: members in order of accuracy, each kept if the mean of the weights is then at
  // least as accurate.
  auto order = all_of(ensemble.members());
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return correct[a] > correct[b]; });
  std::vector<int64_t> chosen;
  int64_t most = -1;
  for (const int64_t member : order) {
    auto candidate = chosen;
    candidate.push_back(member);
    std::sort(candidate.begin(), candidate.end());

    auto count = at::zeros({1}, at::kLong);
    agree(comm, [&] {
      // Every rank averages the weights itself: cheaper than a message of their size.
      const auto network = ensemble.networks->soup(candidate);
      own_blocks(comm, set, config.evaluate.block_rows, [&](int64_t first, int64_t rows) {
        throw_if_stopped();
        count += network->forward(set.inputs(first, rows), all_of(1), false)
                     .logits[0]
                     .argmax(1)
                     .eq(set.labels(first, rows))
                     .sum();
      });
    });
    comm.all_reduce(count, ReduceOp::kSum);

    if (count.item<int64_t>() < most) continue;
    most = count.item<int64_t>();
    chosen = candidate;
  }
  return chosen;
}

}  // namespace dissent
