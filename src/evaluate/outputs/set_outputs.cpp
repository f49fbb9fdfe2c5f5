#include "evaluate/outputs/set_outputs.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "evaluate/subjects/content_hash.hpp"

namespace dissent {
namespace {

constexpr int64_t kShardBlocks = 8;

// The units that a cache holds. Soups that are chosen later are not among them.
int64_t cached_units(const LoadedEnsemble& ensemble) {
  const bool uniform_soup =
      !ensemble.soups.empty() && ensemble.soups[0].predictor == ReportedPredictor::kSoup;
  return ensemble.members() + (uniform_soup ? 1 : 0);
}

MemberOutputs select(const MemberOutputs& all, const std::vector<int64_t>& units) {
  const auto order = at::tensor(at::ArrayRef<int64_t>(units), at::kLong);

  // Features of [1, n, D] are those that all units share: there is nothing to select.
  const bool own = all.features.defined() && all.features.size(0) == all.logits.size(0);
  return {all.logits.index_select(0, order),
          own ? all.features.index_select(0, order) : all.features, all.first_row};
}

}  // namespace

std::string work_folder(const LoadedEnsemble& ensemble, const OutputOptions& options,
                        const std::string& kind) {
  // Next to the checkpoint, or in evaluate.work, for runs whose folders cannot be written.
  const auto beside = std::filesystem::path(ensemble.path).parent_path().string();
  if (options.work.empty()) return fmt::format("{}/{}", beside.empty() ? "." : beside, kind);
  return fmt::format("{}/{}-{}/{}", options.work, ensemble.run, ensemble.config_hash, kind);
}

SetOutputs::SetOutputs(Communicator& comm, const LoadedEnsemble& ensemble, const EvaluationSet& set,
                       const OutputOptions& options)
    : ensemble_(ensemble), set_(set), options_(options) {
  if (options.cache == CacheDtype::kNone) return;

  // The identity of a set may be computed from all of its values, and fail on one rank.
  LogitsCacheKey key;
  agree(comm, [&] {
    key = {.folder = {},
           .ensemble = ensemble.identity,
           .set = set.identity(),
           .place = set.place(),
           .dtype = option_name(options.cache),
           .rows = set.rows(),
           .members = ensemble.members(),
           .units = cached_units(ensemble),
           .classes = ensemble.classes(),
           .feature_dim =
               ensemble.networks->features_are_inputs() ? 0 : ensemble.networks->feature_dim(),
           .shared_features = ensemble.networks->shared_features(),
           .shard_rows = kShardBlocks * options.block_rows};
    // Several checkpoints may lie in one folder, so the name of the file is part of the hash.
    const auto file = std::filesystem::path(ensemble.path).filename().string();
    key.folder = work_folder(ensemble, options, "logits") + "/" +
                 content_hash(fmt::format("{} {} {} {}", key.set, file, key.dtype, key.shard_rows));
  });
  cache_ = std::make_unique<LogitsCache>(comm, std::move(key));
}

MemberOutputs SetOutputs::read(int64_t first, int64_t count, const at::Tensor& x,
                               const std::vector<int64_t>& units, bool features) const {
  // Without a cache, or before this shard is written, outputs are computed.
  return needs_inputs(first) ? compute(first, x, units, features)
                             : read_cache(first, count, x, units, features);
}

MemberOutputs SetOutputs::compute(int64_t first, const at::Tensor& x,
                                  const std::vector<int64_t>& units, bool features) const {
  // Rounded as the cache rounds, so that reading and computing give the same results.
  auto out = ensemble_.forward(x, units, features);
  if (cache_) out = cache_->rounded(std::move(out));
  out.first_row = first;
  return out;
}

MemberOutputs SetOutputs::read_cache(int64_t first, int64_t count, const at::Tensor& x,
                                     const std::vector<int64_t>& units, bool features) const {
  // A cache may have a soup that this ensemble does not have: a unit of that number is then another
  // soup, and is computed.
  const int64_t usable = std::min(cache_->key().units, cached_units(ensemble_));
  std::vector<int64_t> cached, computed;
  for (const int64_t unit : units) (unit < usable ? cached : computed).push_back(unit);

  // Units are ascending, so the cached ones come first in the result too.
  const bool shared = ensemble_.networks->shared_features();
  const auto inputs = [&] { return x.defined() ? x : set_.inputs(first, count); };
  MemberOutputs out =
      cached.empty() ? MemberOutputs{} : cache_->read(first, count, cached, features);
  if (!computed.empty()) {
    const auto more = compute(first, inputs(), computed, features);
    if (cached.empty()) return more;
    out.logits = at::cat({out.logits, more.logits});
    if (features && !shared) out.features = at::cat({out.features, more.features});
  }
  if (features && ensemble_.networks->features_are_inputs()) out.features = inputs().unsqueeze(0);
  out.first_row = first;
  return out;
}

SetOutputs::Task::Task(SetOutputs& outputs, int64_t first)
    : outputs_(outputs), writes_cache_(outputs.cache_ && outputs.needs_inputs(first)) {
  if (writes_cache_) outputs_.cache_->begin(first / outputs_.cache_->key().shard_rows);
}

MemberOutputs SetOutputs::Task::next(int64_t first, int64_t count, const at::Tensor& x,
                                     const at::Tensor& labels, const std::vector<int64_t>& units,
                                     bool features) {
  if (!writes_cache_ && units.empty()) return {};
  if (!writes_cache_) return outputs_.read(first, count, x, units, features);

  // The cache gets all of its units, whichever of them this pass needs.
  const int64_t cached = outputs_.cache_->key().units;
  const auto all = outputs_.compute(first, x, all_of(cached), true);
  outputs_.cache_->write(all, labels);

  // Units that the cache does not hold come last: soups that were chosen later.
  std::vector<int64_t> later;
  for (const int64_t unit : units)
    if (unit >= cached) later.push_back(unit);
  if (later.empty()) return select(all, units);
  std::vector<int64_t> written(units.begin(), units.end() - static_cast<int64_t>(later.size()));

  auto out = select(all, written);
  const auto more = outputs_.compute(first, x, later, features);
  out.logits = at::cat({out.logits, more.logits});
  if (features && !outputs_.ensemble_.networks->shared_features())
    out.features = at::cat({out.features, more.features});
  return out;
}

void SetOutputs::Task::finish() {
  if (writes_cache_) outputs_.cache_->commit();
}

}  // namespace dissent
