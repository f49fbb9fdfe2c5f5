#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "evaluate/ensemble_file.hpp"
#include "evaluate/set_outputs.hpp"

namespace dissent {

/// Values of some figures for each row of a block, one column a key.
struct ColumnGroup {
  std::vector<std::string> keys;
  /// logits [U, B, C], features [U or 1, B, D] (undefined unless asked for) of the pass's units;
  /// labels [B]. Returns [keys, B] f64 (or [B] for one).
  std::function<at::Tensor(const MemberOutputs& outputs, const at::Tensor& labels)> values;
  bool wide = false;  ///< runs on all threads itself; the others run beside each other
};

/// What one ensemble is asked on a set.
struct ColumnPlan {
  std::vector<int64_t> units;  ///< that outputs hold, in this order
  bool features = false;
  std::vector<ColumnGroup> groups;
};

/// The values of all rows of a set, in row order; the same on every rank.
class SetColumns {
 public:
  SetColumns() = default;
  SetColumns(const std::vector<std::string>& keys, at::Tensor values);
  int64_t rows() const { return rows_; }
  bool has(const std::string& key) const { return places_.contains(key); }
  /// [rows] f64. Error::kInternal for an unknown key.
  at::Tensor at(const std::string& key) const;
  void add(const std::string& key, at::Tensor values);
  /// More rows: those of another set, of the columns that both have; others, and figures of all
  /// rows, are dropped.
  void append(const SetColumns& more);
  /// A figure of all rows together: at(key) has this one value.
  void add_value(const std::string& key, double value);

 private:
  std::map<std::string, at::Tensor> places_;
  std::set<std::string> figures_;  // keys of add_value
  int64_t rows_ = 0;
};

/// Goes once over a set for all ensembles (plans[e] of ensembles[e]): tasks of rows that the ranks
/// take in turn, blocks of options.block_rows within them; each row is read once. Fills the logits
/// caches. The values are put back in row order, so they have the same bits for every number of
/// ranks and threads. Memory beside the columns: a block's outputs. Collective over comm.
std::vector<SetColumns> run_pass(Communicator& comm, const EvaluationSet& set,
                                 const std::vector<LoadedEnsemble>& ensembles,
                                 const std::vector<ColumnPlan>& plans, const OutputOptions& options,
                                 bool show_progress);

}  // namespace dissent
