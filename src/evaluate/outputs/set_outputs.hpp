#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "evaluate/option_names.hpp"
#include "evaluate/outputs/logits_cache.hpp"
#include "evaluate/subjects/ensemble_file.hpp"
#include "evaluate/subjects/evaluation_set.hpp"

namespace dissent {

/// How outputs are computed and cached.
struct OutputOptions {
  int64_t block_rows = 1024;  ///< rows per forward pass
  CacheDtype cache = CacheDtype::kNone;
  std::string work;  ///< folder of caches and fitted states; empty: that of each checkpoint
};

/// Folder next to a checkpoint, or below options.work, for files of this kind.
std::string work_folder(const LoadedEnsemble& ensemble, const OutputOptions& options,
                        const std::string& kind);

/// Outputs of one ensemble's units on one set, block by block: read from its logits cache if the
/// cache has them, else computed by a forward pass.
class SetOutputs {
 public:
  /// A cache holds the soups that the ensemble has now. Collective if there is a cache.
  SetOutputs(Communicator& comm, const LoadedEnsemble& ensemble, const EvaluationSet& set,
             const OutputOptions& options);

  /// Rows that one rank takes at a time: a block, or a shard of the cache.
  int64_t task_rows() const { return cache_ ? cache_->key().shard_rows : options_.block_rows; }
  /// Whether these rows need a forward pass.
  bool needs_inputs(int64_t first) const {
    return !cache_ || !cache_->has(first / cache_->key().shard_rows);
  }
  /// Outputs of these units for rows [first, first + count); x: inputs of these rows, may be
  /// undefined if they are not needed. Not collective.
  MemberOutputs read(int64_t first, int64_t count, const at::Tensor& x,
                     const std::vector<int64_t>& units, bool features) const;

  /// Reads the rows of a task block by block, in order, and fills the cache with the outputs of all
  /// units if the cache lacks them. first: first row of the task. next() takes one block of it, as
  /// read(); finish() makes the shard visible to other evaluations. By one rank per task.
  class Task {
   public:
    Task(SetOutputs& outputs, int64_t first);
    MemberOutputs next(int64_t first, int64_t count, const at::Tensor& x, const at::Tensor& labels,
                       const std::vector<int64_t>& units, bool features);
    void finish();

   private:
    SetOutputs& outputs_;
    bool writes_cache_;
  };

 private:
  MemberOutputs compute(int64_t first, const at::Tensor& x, const std::vector<int64_t>& units,
                        bool features) const;
  MemberOutputs read_cache(int64_t first, int64_t count, const at::Tensor& x,
                           const std::vector<int64_t>& units, bool features) const;

  const LoadedEnsemble& ensemble_;
  const EvaluationSet& set_;
  OutputOptions options_;
  std::unique_ptr<LogitsCache> cache_;
};

}  // namespace dissent
