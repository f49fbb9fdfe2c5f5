#pragma once
#include <memory>
#include <string>
#include <vector>

#include "evaluate/ensemble_file.hpp"
#include "evaluate/evaluation_set.hpp"
#include "evaluate/logits_cache.hpp"

namespace dissent {

/// How outputs are computed and kept.
struct OutputOptions {
  int64_t block_rows = 1024;   ///< rows that go through a network at a time
  std::string cache = "none";  ///< logits_cache: none, f32, f16
  std::string work;  ///< folder of caches and fitted states; empty: that of each checkpoint
};

/// Folder beside a checkpoint, or below options.work, for files of this kind.
std::string work_folder(const LoadedEnsemble& ensemble, const OutputOptions& options,
                        const std::string& kind);

/// Outputs of one ensemble's units on one set, block by block: from its logits cache where that has
/// them, else by a forward pass.
class SetOutputs {
 public:
  /// With a cache, soups are limited to those the ensemble has now. Collective if there is a cache.
  SetOutputs(Communicator& comm, const LoadedEnsemble& ensemble, const EvaluationSet& set,
             const OutputOptions& options);

  /// Rows that one rank takes at a time: a block, or a shard of the cache.
  int64_t task_rows() const { return cache_ ? cache_->key().shard_rows : options_.block_rows; }
  /// Whether these rows have to go through the networks.
  bool needs_inputs(int64_t first) const {
    return !cache_ || !cache_->has(first / cache_->key().shard_rows);
  }
  /// Outputs of these units for rows [first, first + count); x: inputs of these rows, undefined
  /// where they are not needed. Not collective.
  MemberOutputs read(int64_t first, int64_t count, const at::Tensor& x,
                     const std::vector<int64_t>& units, bool features) const;

  /// Goes through rows [first, first + count) (a task) and fills the cache where it lacks them:
  /// read for all units, block by block, in order.
  class Task {
   public:
    Task(SetOutputs& outputs, int64_t first);
    MemberOutputs next(int64_t first, int64_t count, const at::Tensor& x, const at::Tensor& labels,
                       const std::vector<int64_t>& units, bool features);
    void finish();

   private:
    SetOutputs& outputs_;
    bool writing_;
  };

 private:
  const LoadedEnsemble& ensemble_;
  const EvaluationSet& set_;
  OutputOptions options_;
  std::unique_ptr<LogitsCache> cache_;
};

}  // namespace dissent
