#include <algorithm>
#include <cstdint>
#include <vector>

#include <dissent/error.hpp>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/progress_bar.hpp"
#include "core/stop.hpp"
#include "evaluate/outputs/columns.hpp"

namespace dissent {
namespace {

std::vector<ColumnKey> keys_of(const ColumnPlan& plan) {
  std::vector<ColumnKey> keys;
  for (const auto& group : plan.groups)
    keys.insert(keys.end(), group.keys.begin(), group.keys.end());
  return keys;
}

// [keys, n] f64 of one block.
at::Tensor block_values(const ColumnPlan& plan, const MemberOutputs& outputs,
                        const at::Tensor& labels) {
  // Each group fills its own rows of one tensor, so groups can run concurrently.
  std::vector<int64_t> first_key;
  int64_t keys = 0;
  for (const auto& group : plan.groups) {
    first_key.push_back(keys);
    keys += static_cast<int64_t>(group.keys.size());
  }
  auto values = at::empty({keys, labels.size(0)}, at::kDouble);
  const auto compute = [&](int64_t g) {
    const auto& group = plan.groups[g];
    const auto count = static_cast<int64_t>(group.keys.size());
    values.narrow(0, first_key[g], count)
        .copy_(group.values(outputs, labels).reshape({count, labels.size(0)}));
  };

  // Groups that use all threads run one after another, the others concurrently.
  std::vector<int64_t> parallel_groups;
  for (int64_t g = 0; g < static_cast<int64_t>(plan.groups.size()); ++g) {
    if (plan.groups[g].uses_all_threads)
      compute(g);
    else
      parallel_groups.push_back(g);
  }
  parallel_tasks(static_cast<int64_t>(parallel_groups.size()),
                 [&](int64_t i) { compute(parallel_groups[i]); });
  return values;
}

// Rank r has tasks r, r + size, ...: gathers their [columns, n] pieces and puts each back at its
// rows.
at::Tensor assemble(Communicator& comm, const std::vector<at::Tensor>& local, int64_t rows,
                    int64_t task_rows, int64_t columns) {
  const int64_t tasks = divide_up(rows, task_rows);
  const auto rows_of = [&](int64_t task) { return std::min(task_rows, rows - task * task_rows); };
  std::vector<int64_t> sizes(comm.size(), 0);
  for (int64_t t = 0; t < tasks; ++t) sizes[t % comm.size()] += columns * rows_of(t);

  // Ranks may have no task at all; all_gather() is collective, so these take part with 0 values.
  std::vector<at::Tensor> pieces;
  for (const auto& piece : local) pieces.push_back(piece.reshape({-1}));
  const auto all =
      comm.all_gather(pieces.empty() ? at::empty({0}, at::kDouble) : at::cat(pieces), sizes);

  // all_gather() puts the tasks of one rank next to each other; in the set they alternate.
  auto values = at::empty({columns, rows}, at::kDouble);
  int64_t at = 0;
  for (int64_t rank = 0; rank < comm.size(); ++rank)
    for (int64_t t = rank; t < tasks; t += comm.size()) {
      const int64_t n = rows_of(t);
      values.narrow(1, t * task_rows, n).copy_(all.narrow(0, at, columns * n).view({columns, n}));
      at += columns * n;
    }
  return values;
}

// One pass over a set. A task is what a rank takes at a time: a block, or a shard of a logits
// cache.
class Pass {
 public:
  Pass(Communicator& comm, const EvaluationSet& set, const std::vector<LoadedEnsemble>& ensembles,
       const std::vector<ColumnPlan>& plans, const OutputOptions& options)
      : set_(set), plans_(plans), block_rows_(options.block_rows), values_(ensembles.size()) {
    // All caches have the same rows per shard, so tasks are the same for every ensemble.
    for (const auto& ensemble : ensembles) outputs_.emplace_back(comm, ensemble, set, options);
    task_rows_ = outputs_.empty() ? set.rows() : outputs_[0].task_rows();
  }

  int64_t task_rows() const { return task_rows_; }
  int64_t tasks() const { return divide_up(set_.rows(), task_rows_); }
  /// [columns, n] pieces of this rank's tasks.
  const std::vector<at::Tensor>& values(size_t ensemble) const { return values_[ensemble]; }

  void run(int64_t task, ProgressBar& progress) {
    const int64_t begin = task * task_rows_;
    const int64_t end = std::min(set_.rows(), begin + task_rows_);

    // Inputs are read only if at least one ensemble has to compute its outputs.
    bool needs_inputs = false;
    std::vector<SetOutputs::Task> output_tasks;
    for (auto& outputs : outputs_) {
      needs_inputs = needs_inputs || outputs.needs_inputs(begin);
      output_tasks.emplace_back(outputs, begin);
    }

    std::vector<std::vector<at::Tensor>> blocks(values_.size());
    for (int64_t first = begin; first < end; first += block_rows_) {
      // Between blocks, so that a signal waits for one forward pass at most.
      throw_if_stopped();
      const int64_t count = std::min(block_rows_, end - first);

      // Inputs are shared by all ensembles.
      const auto x = needs_inputs ? set_.inputs(first, count) : at::Tensor();
      const auto labels = set_.labels(first, count);
      for (size_t e = 0; e < values_.size(); ++e) {
        const auto outputs =
            output_tasks[e].next(first, count, x, labels, plans_[e].units, plans_[e].features);
        blocks[e].push_back(block_values(plans_[e], outputs, labels));
      }
      progress.update(first + count, "");
    }

    // The shards of this task are complete and get their final names.
    for (size_t e = 0; e < values_.size(); ++e) {
      output_tasks[e].finish();
      values_[e].push_back(at::cat(blocks[e], 1));
    }
  }

 private:
  const EvaluationSet& set_;
  const std::vector<ColumnPlan>& plans_;
  int64_t block_rows_, task_rows_ = 0;
  std::vector<SetOutputs> outputs_;              // per ensemble
  std::vector<std::vector<at::Tensor>> values_;  // per ensemble and task
};

}  // namespace

std::vector<SetColumns> run_pass(Communicator& comm, const EvaluationSet& set,
                                 const std::vector<LoadedEnsemble>& ensembles,
                                 const std::vector<ColumnPlan>& plans, const OutputOptions& options,
                                 bool show_progress) {
  Pass pass(comm, set, ensembles, plans, options);
  agree(comm, [&] {
    ProgressBar progress(set.name(), set.rows(), "rows", !show_progress);
    for (int64_t t = comm.rank(); t < pass.tasks(); t += comm.size()) pass.run(t, progress);
    progress.finish();
  });

  // Then all ranks get all columns: metrics are computed by each of them, from the same values.
  std::vector<SetColumns> columns;
  for (size_t e = 0; e < ensembles.size(); ++e) {
    const auto keys = keys_of(plans[e]);
    columns.emplace_back(keys, assemble(comm, pass.values(e), set.rows(), pass.task_rows(),
                                        static_cast<int64_t>(keys.size())));
  }
  return columns;
}

}  // namespace dissent
