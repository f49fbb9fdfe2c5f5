#include <dissent/error.hpp>

#include "core/parallel.hpp"
#include "core/progress_bar.hpp"
#include "core/stop.hpp"
#include "evaluate/columns.hpp"

namespace dissent {
namespace {

std::vector<std::string> keys_of(const ColumnPlan& plan) {
  std::vector<std::string> keys;
  for (const auto& group : plan.groups)
    keys.insert(keys.end(), group.keys.begin(), group.keys.end());
  return keys;
}

// [keys, n] f64 of one block.
at::Tensor block_values(const ColumnPlan& plan, const MemberOutputs& outputs,
                        const at::Tensor& labels) {
  std::vector<int64_t> first;
  int64_t keys = 0;
  for (const auto& group : plan.groups) {
    first.push_back(keys);
    keys += static_cast<int64_t>(group.keys.size());
  }
  auto values = at::empty({keys, labels.size(0)}, at::kDouble);
  const auto compute = [&](int64_t g) {
    const auto& group = plan.groups[g];
    const auto count = static_cast<int64_t>(group.keys.size());
    values.narrow(0, first[g], count)
        .copy_(group.values(outputs, labels).reshape({count, labels.size(0)}));
  };
  std::vector<int64_t> narrow;
  for (int64_t g = 0; g < static_cast<int64_t>(plan.groups.size()); ++g) {
    if (plan.groups[g].wide)
      compute(g);
    else
      narrow.push_back(g);
  }
  parallel_tasks(static_cast<int64_t>(narrow.size()), [&](int64_t i) { compute(narrow[i]); });
  return values;
}

// Ranks hold tasks rank, rank + size, ...: gathers the [columns, n] pieces and puts each back at
// its rows.
at::Tensor assemble(Communicator& comm, const std::vector<at::Tensor>& local, int64_t rows,
                    int64_t task_rows, int64_t columns) {
  const int64_t tasks = (rows + task_rows - 1) / task_rows;
  const auto rows_of = [&](int64_t task) { return std::min(task_rows, rows - task * task_rows); };
  std::vector<int64_t> sizes(comm.size(), 0);
  for (int64_t t = 0; t < tasks; ++t) sizes[t % comm.size()] += columns * rows_of(t);
  std::vector<at::Tensor> pieces;
  for (const auto& piece : local) pieces.push_back(piece.reshape({-1}));
  const auto all =
      comm.all_gather(pieces.empty() ? at::empty({0}, at::kDouble) : at::cat(pieces), sizes);
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

}  // namespace

SetColumns::SetColumns(const std::vector<std::string>& keys, at::Tensor values)
    : rows_(values.size(1)) {
  for (size_t i = 0; i < keys.size(); ++i) places_[keys[i]] = values[static_cast<int64_t>(i)];
}

at::Tensor SetColumns::at(const std::string& key) const {
  const auto found = places_.find(key);
  DISSENT_CHECK(found != places_.end(), kInternal, "no column '{}' was computed", key);
  return found->second;
}

void SetColumns::add(const std::string& key, at::Tensor values) {
  rows_ = values.size(0);
  places_[key] = std::move(values);
}

void SetColumns::append(const SetColumns& more) {
  std::erase_if(places_, [&](const auto& place) {
    return figures_.contains(place.first) || !more.has(place.first);
  });
  figures_.clear();
  for (auto& [key, values] : places_) values = at::cat({values, more.at(key)});
  rows_ += more.rows_;
}

void SetColumns::add_value(const std::string& key, double value) {
  places_[key] = at::full({1}, value, at::kDouble);
  figures_.insert(key);
}

std::vector<SetColumns> run_pass(Communicator& comm, const EvaluationSet& set,
                                 const std::vector<LoadedEnsemble>& ensembles,
                                 const std::vector<ColumnPlan>& plans, const OutputOptions& options,
                                 bool show_progress) {
  std::vector<SetOutputs> outputs;
  for (const auto& ensemble : ensembles) outputs.emplace_back(comm, ensemble, set, options);
  const int64_t rows = set.rows(), task_rows = outputs.empty() ? rows : outputs[0].task_rows(),
                tasks = (rows + task_rows - 1) / task_rows;
  std::vector<std::vector<at::Tensor>> values(ensembles.size());
  agree(comm, [&] {
    ProgressBar progress(set.name(), rows, "rows", !show_progress);
    for (int64_t t = comm.rank(); t < tasks; t += comm.size()) {
      const int64_t begin = t * task_rows, end = std::min(rows, begin + task_rows);
      bool inputs = false;
      std::vector<SetOutputs::Task> under_way;
      for (auto& of : outputs) {
        inputs = inputs || of.needs_inputs(begin);
        under_way.emplace_back(of, begin);
      }
      std::vector<std::vector<at::Tensor>> blocks(ensembles.size());
      for (int64_t first = begin; first < end; first += options.block_rows) {
        throw_if_stopped();
        const int64_t count = std::min(options.block_rows, end - first);
        const auto x = inputs ? set.inputs(first, count) : at::Tensor();
        const auto labels = set.labels(first, count);
        for (size_t e = 0; e < ensembles.size(); ++e) {
          auto of_block =
              under_way[e].next(first, count, x, labels, plans[e].units, plans[e].features);
          of_block.first_row = first;
          blocks[e].push_back(block_values(plans[e], of_block, labels));
        }
        progress.update(first + count, "");
      }
      for (size_t e = 0; e < ensembles.size(); ++e) {
        under_way[e].finish();
        values[e].push_back(at::cat(blocks[e], 1));
      }
    }
    progress.finish();
  });
  std::vector<SetColumns> columns;
  for (size_t e = 0; e < ensembles.size(); ++e) {
    const auto keys = keys_of(plans[e]);
    columns.emplace_back(
        keys, assemble(comm, values[e], rows, task_rows, static_cast<int64_t>(keys.size())));
  }
  return columns;
}

}  // namespace dissent
