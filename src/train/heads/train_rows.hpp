#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "storage/chunk_stream.hpp"
#include "storage/residency.hpp"
#include "train/config/head_config.hpp"

namespace dissent {

/// The most bytes of rows that residency "auto" keeps in one place: three quarters of what is free
/// there, the rest is for the training itself.
inline int64_t most_resident_bytes(int64_t free_bytes) { return free_bytes / 4 * 3; }

/// Rows in the memory of a device: one copy per rank, in the dtype of the file.
struct DeviceRows {
  at::Tensor embed, labels;  ///< [R, D], [R] i64
  /// A copy of all rows; the host memory may be freed afterwards.
  static DeviceRows copy(const HostResidency& host, at::Device device);
  at::Tensor take(std::span<const int64_t> rows) const;         ///< [B, D] f32 on the device
  at::Tensor take_labels(std::span<const int64_t> rows) const;  ///< [B] i64 on the device
};

/// The training rows for any residency: on the GPU (device), in the node's memory (host), or read
/// chunk by chunk (stream). Rows are positions in the selection, pass * rows_per_pass() + row. The
/// trainer visits the plan's chunks (train/heads/head_plan.hpp) for every residency:
///   rows.start_pass(plan.pass(), plan.chunk_of(first_step));
///   for each chunk: rows.chunk(*grid.run, chunk); its steps: rows.take(batch),
///       rows.take_labels(batch)
class TrainRows {
 public:
  /// Chooses the residency from [data] residency, chunk_rows and memory_gib, and loads the rows.
  /// node      ranks of a node, which share one host copy
  /// run_node  those of them that train one run together, and so read the chunks together
  /// device    where the training runs; the rows are kept there with residency "device", and with
  ///           "auto" if it is a GPU and they take at most 3/4 of its free memory
  /// Error::kData, the same on every rank of the node: a chunk that does not fit into memory_gib
  /// (the message proposes one that does), too little memory, errors of HostResidency::load and
  /// ChunkStream::open.
  /// Collective over node and run_node, which have to outlive this object.
  static TrainRows load(Communicator& node, Communicator& run_node, const FeatureCache& cache,
                        const RowSelection& selection, const CacheDataOptions& options,
                        at::Device device = at::kCPU);

  const char* residency() const { return device_ ? "device" : host_ ? "host" : "stream"; }
  int64_t passes() const { return host_ ? host_->passes() : stream_->passes(); }
  int64_t rows_per_pass() const {
    return host_ ? host_->rows_per_pass() : stream_->rows_per_pass();
  }

  /// Called once per epoch, before its first chunk.
  void start_pass(int64_t pass, int64_t first_chunk = 0) {
    if (stream_) stream_->start_pass(pass, first_chunk);
  }
  /// Makes a chunk of the pass current: only its rows can be taken. No effect if it is current
  /// already.
  /// Error::kData, the same on every rank of `run`. Collective over run, the ranks of all nodes
  /// that train this run.
  void chunk(Communicator& run, int64_t chunk);
  /// Local; may run in several threads.
  at::Tensor take(std::span<const int64_t> rows) const {
    return device_ ? device_->take(rows) : host_ ? host_->take(rows) : stream_->take(rows);
  }  ///< [B, D] f32
  /// [B] i64
  at::Tensor take_labels(std::span<const int64_t> rows) const {
    return device_ ? device_->take_labels(rows)
           : host_ ? host_->take_labels(rows)
                   : stream_->take_labels(rows);
  }

  /// Frees the memory. Collective over node and run_node.
  void close();

 private:
  std::optional<DeviceRows> device_;
  std::optional<HostResidency> host_;  ///< with device_, only its shapes: the memory is freed
  std::optional<ChunkStream> stream_;
  Communicator* run_node_ = nullptr;
};

/// Runs work that is collective over `part`, a subset of the ranks of `whole`. If it throws an
/// error on all ranks of a part, every rank of `whole` throws.
void agree_beyond(Communicator& whole, const Communicator& part, const std::function<void()>& work);

}  // namespace dissent
