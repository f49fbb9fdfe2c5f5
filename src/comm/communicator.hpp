#pragma once
#include <ATen/core/Tensor.h>
#include <dissent/error.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dissent {

/// How a group waits for messages.
struct WaitSettings {
  double timeout_s = 600;  ///< timeout of a collective before the job aborts
  /// Called about once per second while a rank waits: its heartbeat.
  std::function<void()> while_waiting = {};
};

enum class ReduceOp { kSum, kMin, kMax };

/// How a group communicates: not at all (one process), MPI over host memory, NCCL over device
/// memory.
enum class Backend { kSelf, kMpi, kNccl };

/// A group of ranks. Every function except rank(), size() and backend() is collective over the
/// group: each rank calls it, in the same order. Tensors are contiguous, of f32, f64, i32, i64 or
/// u8; on the device for Backend::kNccl, else on the host.
/// A call that does not finish within the timeout throws Error::kComm (exit code 4) with the
/// operation, the rank and the host.
class Communicator {
 public:
  virtual ~Communicator() = default;
  /// Shared by a group, the groups split from it and its device-memory groups.
  WaitSettings& wait_settings() { return *settings_; }
  /// Uses the settings of another group from now on.
  void share_wait_settings(const Communicator& other) { settings_ = other.settings_; }
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual Backend backend() const = 0;

  /// In place: values = op over ranks of values; same shape on every rank. The order of summation
  /// is fixed for a fixed group size.
  virtual void all_reduce(at::Tensor& values, ReduceOp op) = 0;
  /// Gathers flat pieces of different lengths in rank order: counts[r] elements from rank r.
  /// `local` has counts[rank()] elements.
  /// returns [sum counts], dtype and device of local
  virtual at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) = 0;
  /// In place, from root; same shape and dtype on every rank.
  virtual void broadcast(at::Tensor& values, int root) = 0;
  virtual void barrier() = 0;
  /// Ranks with the same colour form a new group, ordered by (key, rank). Every rank belongs to
  /// one.
  virtual std::unique_ptr<Communicator> split(int colour, int key) = 0;
  /// Ranks on the same node form a new group.
  virtual std::unique_ptr<Communicator> split_by_node() = 0;

 protected:
  std::shared_ptr<WaitSettings> settings_ = std::make_shared<WaitSettings>();
};

/// The group of this process alone: no messages, no MPI.
std::unique_ptr<Communicator> make_self_communicator();

inline constexpr double kNoTimeout = std::numeric_limits<double>::infinity();

/// Another timeout for the collectives of a group, and of the groups that share its settings, until
/// the end of the scope, also if it ends by an exception.
class TimeoutScope {
 public:
  TimeoutScope(Communicator& comm, double timeout_s)
      : settings_(comm.wait_settings()), before_(std::exchange(settings_.timeout_s, timeout_s)) {}
  ~TimeoutScope() { settings_.timeout_s = before_; }
  TimeoutScope(const TimeoutScope&) = delete;
  TimeoutScope& operator=(const TimeoutScope&) = delete;

 private:
  WaitSettings& settings_;
  double before_;
};

/// Text from root to all ranks (any length).
std::string broadcast_text(Communicator& comm, std::string text, int root);
/// One text per rank, in rank order, on every rank.
std::vector<std::string> all_gather_text(Communicator& comm, const std::string& text);
/// One integer per rank, in rank order, on every rank.
std::vector<int64_t> all_gather_integer(Communicator& comm, int64_t value);

/// Runs local work on every rank and shares the outcome: if it raised an Error on any rank, every
/// rank throws the error of the lowest such rank, marked as agreed, so that one message is printed
/// and all ranks end together. If none failed and some raised Stopped (core/stop.hpp), every rank
/// throws Stopped. The work must not communicate over `comm`. If other ranks wait inside a library
/// (collective HDF5) for a rank whose work failed, that rank throws its own error after 20 s, not
/// agreed, which aborts the job.
void agree(Communicator& comm, const std::function<void()>& work);

}  // namespace dissent
