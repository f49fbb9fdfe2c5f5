#include "train/heads/train_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "comm/device.hpp"
#include "core/divide_up.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"

namespace dissent {
namespace {

// Number of groups of ranks on this node that each read a stream.
int64_t groups_of(const Communicator& node, const Communicator& run_node) {
  return divide_up(node.size(), run_node.size());
}

// "auto" streams only if the plan has chunks and the rows do not fit into three quarters of the
// free memory: the rest is left to the training itself.
bool auto_streams(Communicator& node, const FeatureCache& cache, const RowSelection& selection,
                  const CacheDataOptions& options) {
  if (options.chunk_rows == 0) return false;
  int64_t streams = 0;

  // One rank measures: the answers of others could differ, and all have to choose the same
  // residency.
  agree(node, [&] {
    if (node.rank() != 0) return;
    const int64_t free = node.size() > 1
                             ? std::min(free_bytes("/dev/shm"), available_memory_bytes())
                             : available_memory_bytes();
    streams = HostResidency::bytes(cache, selection) > most_resident_bytes(free);
  });
  return all_gather_integer(node, streams)[0] != 0;
}

// True if the rows are copied to the GPUs: the same answer on all ranks of the node.
bool keeps_on_device(Communicator& node, const FeatureCache& cache, const RowSelection& selection,
                     const CacheDataOptions& options, at::Device device) {
  if (device.is_cpu() ||
      (options.residency != Residency::kAuto && options.residency != Residency::kDevice))
    return false;

  const int64_t needed = HostResidency::bytes(cache, selection),
                free = free_device_bytes(node, device);
  agree(node, [&] {
    DISSENT_CHECK(options.residency == Residency::kAuto || needed < free, kData,
                  "data.residency = \"device\": expected {0} free on {1}, found {2}; use \"host\", "
                  "or fewer rows",
                  byte_text(needed), device.str(), byte_text(free));
  });

  // "auto" uses a GPU only if the rows fit on that of every rank.
  const auto fits = all_gather_integer(node, needed <= most_resident_bytes(free));
  return options.residency == Residency::kDevice ||
         std::find(fits.begin(), fits.end(), 0) == fits.end();
}

// Throws if the buffers of all groups of the node do not fit into memory_gib.
void check_bound(const FeatureCache& cache, const RowSelection& selection,
                 const CacheDataOptions& options, int64_t groups) {
  const int64_t pass = selection.rows_per_pass,
                rows = options.chunk_rows > 0 ? std::min(options.chunk_rows, pass) : pass;
  const auto bound = static_cast<int64_t>(options.memory_gib * 0x1p30);
  const int64_t needed = groups * ChunkStream::bytes(cache, rows);
  if (needed <= bound) return;

  // The advice names the largest chunk that fits.
  int64_t fits = ChunkStream::largest_chunk(cache, bound / groups);
  if (fits > options.batch_size) fits -= fits % options.batch_size;  // no short batches

  const std::string advice = fits > 0 ? fmt::format(
                                            "set data.chunk_rows = {} (rows are then shuffled "
                                            "within chunks), or raise data.memory_gib",
                                            fits)
                                      : "raise data.memory_gib";

  DISSENT_FAIL(
      kData,
      "data.memory_gib: expected at least {} for two buffers of {} rows (data.chunk_rows = "
      "{}{}){}, which data.residency = \"stream\" needs, found {}; {}",
      byte_text(needed), rows, options.chunk_rows,
      options.chunk_rows == 0 ? ": the whole pass" : "",
      groups > 1 ? fmt::format(" in each of the {} runs on a node", groups) : "", byte_text(bound),
      advice);
}

at::Tensor places_of(std::span<const int64_t> rows, at::Device device) {
  return to_device(at::tensor(at::ArrayRef<int64_t>(rows.data(), rows.size()), at::kLong), device);
}

}  // namespace

DeviceRows DeviceRows::copy(const HostResidency& host, at::Device device) {
  return {host.embed().to(device, host.embed().scalar_type(), false, true),
          host.labels().to(device, at::kLong, false, true)};
}

at::Tensor DeviceRows::take(std::span<const int64_t> rows) const {
  return embed.index_select(0, places_of(rows, embed.device())).to(at::kFloat);
}

at::Tensor DeviceRows::take_labels(std::span<const int64_t> rows) const {
  return labels.index_select(0, places_of(rows, labels.device()));
}

TrainRows TrainRows::load(Communicator& node, Communicator& run_node, const FeatureCache& cache,
                          const RowSelection& selection, const CacheDataOptions& options,
                          at::Device device) {
  TrainRows rows;
  rows.run_node_ = &run_node;

  // Both decisions are collective over the node.
  const bool on_device = keeps_on_device(node, cache, selection, options, device);
  if (on_device ||
      (options.residency != Residency::kStream &&
       !(options.residency == Residency::kAuto && auto_streams(node, cache, selection, options)))) {
    rows.host_.emplace(HostResidency::load(node, cache, selection));

    // The host copy was needed to fill the GPUs only: its memory, which the node shares, is freed.
    if (on_device) {
      rows.device_.emplace(DeviceRows::copy(*rows.host_, device));
      rows.host_->close();
    }
    return rows;
  }

  // The stream reads throughout the training and keeps its own open cache.
  std::optional<FeatureCache> own;
  agree(node, [&] {
    check_bound(cache, selection, options, groups_of(node, run_node));
    own.emplace(FeatureCache::open(cache.path()));
  });
  rows.stream_.emplace(ChunkStream::open(run_node, std::move(*own), selection, options.chunk_rows));
  return rows;
}

void TrainRows::chunk(Communicator& run, int64_t chunk) {
  if (stream_) agree_beyond(run, *run_node_, [&] { stream_->chunk(chunk); });
}

void agree_beyond(Communicator& whole, const Communicator& part,
                  const std::function<void()>& work) {
  if (whole.size() == part.size()) return work();

  // An error that only this rank knows is not caught: it aborts the job, since others wait for it.
  std::optional<Error> error;
  try {
    work();
  } catch (const Error& caught) {
    if (!caught.agreed()) throw;
    error = caught;
  }

  // Each part has agreed on its own result; now all parts do.
  agree(whole, [&] {
    if (error) throw *error;
  });
}

void TrainRows::close() {
  if (host_ && !device_) host_->close();
  device_.reset();
  if (stream_) stream_->close();
}

}  // namespace dissent
