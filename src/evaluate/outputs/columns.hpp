#pragma once
#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "evaluate/outputs/set_outputs.hpp"
#include "evaluate/subjects/ensemble_file.hpp"

namespace dissent {

/// What a column has for each row of a set.
enum class ColumnKind {
  kCorrect,         ///< whether the prediction is correct: 1 or 0
  kCorrectTop5,     ///< whether the label is among the five largest logits
  kNll,             ///< -log p_y
  kBrier,           ///< Brier score
  kConfidence,      ///< largest probability
  kCovered,         ///< whether the label is in the conformal prediction set
  kSetSize,         ///< classes in this set
  kClasswiseError,  ///< ece_classwise, one value for all rows
  kScore,           ///< a score of unknown inputs
  kDiversity,       ///< a score whose mean is reported by evaluate.diversity
};

/// How logits were scaled before they became probabilities.
enum class Scaling { kNone, kTemperature, kVector };
inline constexpr Scaling kScalings[] = {Scaling::kNone, Scaling::kTemperature, Scaling::kVector};

/// Identifies a column.
struct ColumnKey {
  ColumnKind kind = ColumnKind::kScore;
  std::string predictor = {};  ///< empty for kDiversity, which is of all members
  Scaling scaling = Scaling::kNone;
  std::string score = {};  ///< for kScore and kDiversity
  auto operator<=>(const ColumnKey&) const = default;
  std::string text() const;  ///< for messages: "ensemble nll after temperature"
};

/// Columns that are computed together from a block of outputs.
struct ColumnGroup {
  std::vector<ColumnKey> keys;
  /// logits [U, B, C], features [U or 1, B, D] (undefined unless requested) of the pass's units;
  /// labels [B]. Returns [keys, B] f64 (or [B] for one key).
  std::function<at::Tensor(const MemberOutputs& outputs, const at::Tensor& labels)> values;
  bool uses_all_threads = false;  ///< else groups run in parallel, one thread each
};

/// The columns of one ensemble that a pass over a set computes.
struct ColumnPlan {
  std::vector<int64_t> units;  ///< of the outputs, in this order
  bool features = false;       ///< whether a group reads features
  std::vector<ColumnGroup> groups;
};

/// The columns of a set: values of all rows, in row order; the same on every rank.
class SetColumns {
 public:
  SetColumns() = default;
  /// values [keys, rows] f64.
  SetColumns(const std::vector<ColumnKey>& keys, at::Tensor values);
  int64_t rows() const { return rows_; }
  bool has(const ColumnKey& key) const { return columns_.contains(key); }
  /// [rows] f64. Error::kInternal for an unknown key.
  at::Tensor at(const ColumnKey& key) const;
  /// values [rows] f64.
  void add(const ColumnKey& key, at::Tensor values);
  /// Appends the rows of another set. Columns that only one of the two has, and values of all rows,
  /// are dropped.
  void append(const SetColumns& more);
  /// One value for all rows together: at(key) has this single element.
  void add_value(const ColumnKey& key, double value);

 private:
  std::map<ColumnKey, at::Tensor> columns_;
  std::set<ColumnKey> single_values_;  // keys of add_value
  int64_t rows_ = 0;
};

/// Passes once over a set for all ensembles (plans[e] belongs to ensembles[e]). Rows are divided
/// into tasks that ranks take in turn, with forward passes of options.block_rows rows; each row is
/// read once. Fills the logits caches. Values are put back in row order, so they have the same bits
/// for every number of ranks and threads. Memory in addition to the columns: the outputs of one
/// block. Collective over comm.
std::vector<SetColumns> run_pass(Communicator& comm, const EvaluationSet& set,
                                 const std::vector<LoadedEnsemble>& ensembles,
                                 const std::vector<ColumnPlan>& plans, const OutputOptions& options,
                                 bool show_progress);

}  // namespace dissent
