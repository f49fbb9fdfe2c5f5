#include "evaluate/head_evaluator.hpp"

#include <dissent/metrics/ranking.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/registry.hpp>

#include <filesystem>

#include "core/parallel.hpp"
#include "core/progress_bar.hpp"

namespace dissent {
namespace {

constexpr int64_t kBlockRows = 1024;

// Per-row values of one ensemble: columns are the configured scores, then msp of each member, then msp of the soup.
int64_t column_count(const LoadedEnsemble& ensemble, const EvaluateOptions& options) {
  return static_cast<int64_t>(options.scores.size()) + ensemble.members.size(0) + 1;
}

at::Tensor combined(const at::Tensor& logits, const EvaluateOptions& options) {
  if (options.combine == "mean_probabilities") return scores::mean_probabilities(logits);
  if (options.combine == "product_of_experts") return scores::product_of_experts(logits);
  if (!options.weights.empty()) return scores::weighted_logits(logits, at::tensor(options.weights, logits.options()));
  return scores::mean_logits(logits);
}

at::Tensor score_of(const at::Tensor& outputs, const std::string& name, const EvaluateOptions& options) {
  const auto& info = scores::find_score(name);
  const bool released = options.convention == "sed" && info.released_function;
  return (released ? info.released_function : info.function)(outputs, scores::InputKind::kLogits);
}

// One block of rows of one ensemble: counts [M + 2] i64 and values [columns, n] f64.
struct BlockOutcome {
  at::Tensor counts, values;
};

BlockOutcome evaluate_block(const LoadedEnsemble& ensemble, const at::Tensor& x, const at::Tensor& labels, const EvaluateOptions& options) {
  const int64_t members = ensemble.members.size(0), rows = x.size(0);
  auto outputs = at::empty({members + 1, rows, ensemble.classes}, at::kFloat);
  parallel_tasks(members + 1, [&](int64_t i) {
    outputs[i].copy_(ensemble.head->forward(i < members ? ensemble.members[i] : ensemble.soup, x, nullptr));
  });
  const auto logits = outputs.narrow(0, 0, members);
  BlockOutcome block{at::empty({members + 2}, at::kLong), at::empty({column_count(ensemble, options), rows}, at::kDouble)};
  const auto scored = static_cast<int64_t>(options.scores.size());
  parallel_tasks(members + 2 + scored, [&](int64_t task) {
    if (task <= members) {
      block.counts[task].copy_(outputs[task].argmax(1).eq(labels).sum());
      block.values[scored + task].copy_(score_of(outputs.narrow(0, task, 1), "msp", options));
    } else if (task == members + 1) {
      block.counts[task].copy_(combined(logits, options).argmax(1).eq(labels).sum());
    } else {
      block.values[task - members - 2].copy_(score_of(logits, options.scores[task - members - 2], options));
    }
  });
  return block;
}

SetOutcome assemble(Communicator& comm, const at::Tensor& counts_sum, const std::vector<at::Tensor>& local, int64_t rows, int64_t members, int64_t columns) {
  // Ranks hold blocks rank, rank + size, ...: gather [columns, n] pieces and put each block back at its rows.
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const auto block_rows = [&](int64_t b) { return std::min(kBlockRows, rows - b * kBlockRows); };
  std::vector<int64_t> sizes(comm.size(), 0);
  for (int64_t b = 0; b < blocks; ++b) sizes[b % comm.size()] += columns * block_rows(b);
  std::vector<at::Tensor> pieces;
  for (const auto& piece : local) pieces.push_back(piece.reshape({-1}));
  const auto all = comm.all_gather(pieces.empty() ? at::empty({0}, at::kDouble) : at::cat(pieces), sizes);
  auto values = at::empty({columns, rows}, at::kDouble);
  int64_t at = 0;
  for (int64_t rank = 0; rank < comm.size(); ++rank)
    for (int64_t b = rank; b < blocks; b += comm.size()) {
      const int64_t n = block_rows(b);
      values.narrow(1, b * kBlockRows, n).copy_(all.narrow(0, at, columns * n).view({columns, n}));
      at += columns * n;
    }
  SetOutcome outcome;
  outcome.rows = rows;
  const auto* count = counts_sum.const_data_ptr<int64_t>();
  outcome.right_members.assign(count, count + members);
  outcome.right_soup = count[members];
  outcome.right_ensemble = count[members + 1];
  const int64_t scored = columns - members - 1;
  for (int64_t s = 0; s < scored; ++s) outcome.ensemble_scores.push_back(values[s]);
  for (int64_t m = 0; m < members; ++m) outcome.member_msp.push_back(values[scored + m]);
  outcome.soup_msp = values[scored + members];
  return outcome;
}

}  // namespace

std::vector<SetOutcome> run_over_cache(Communicator& comm, const FeatureCache& cache, const std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options,
                                       bool show_progress) {
  const int64_t rows = cache.rows(), blocks = (rows + kBlockRows - 1) / kBlockRows;
  std::vector<at::Tensor> counts;
  std::vector<std::vector<at::Tensor>> values(ensembles.size());
  for (const auto& ensemble : ensembles) counts.push_back(at::zeros({ensemble.members.size(0) + 2}, at::kLong));
  agree(comm, [&] {
    ProgressBar progress(std::filesystem::path(cache.path()).filename().string(), rows, "rows", !show_progress);
    for (int64_t b = comm.rank(); b < blocks; b += comm.size()) {
      const int64_t first = b * kBlockRows, count = std::min(kBlockRows, rows - first);
      const auto x = cache.read_rows(first, count);
      check_finite(x, first, cache.path());
      const auto labels = cache.read_labels(first, count);
      for (size_t e = 0; e < ensembles.size(); ++e) {
        auto block = evaluate_block(ensembles[e], x, labels, options);
        counts[e].add_(block.counts);
        values[e].push_back(block.values);
      }
      progress.update(first + count, "");
    }
    progress.finish();
  });
  std::vector<SetOutcome> outcomes;
  for (size_t e = 0; e < ensembles.size(); ++e) {
    comm.all_reduce(counts[e], ReduceOp::kSum);
    outcomes.push_back(assemble(comm, counts[e], values[e], rows, ensembles[e].members.size(0), column_count(ensembles[e], options)));
  }
  return outcomes;
}

}  // namespace dissent
