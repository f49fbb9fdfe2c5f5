#include "comm/communicator.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>

#include <fmt/format.h>

#include "core/stop.hpp"
#include "core/torch_failure.hpp"

namespace dissent {
namespace {

// How long a rank whose work failed waits for the others, in seconds. They may be blocked in a
// library that waits for it forever (HDF5 and MPI-IO, if a single rank gets an error of the disk),
// or take long for work that is now useless.
constexpr double kPatienceOfFailed_s = 20;

// The outcome on each rank. If the others do not arrive in time, a failed rank throws its own
// error, which aborts the job.
std::vector<int64_t> gather_outcomes(Communicator& comm, int64_t kind, std::exception_ptr own) {
  if (!own) return all_gather_integer(comm, kind);

  // The timeout is shortened for this exchange only. If the others arrive, the error is agreed and
  // the group stays usable.
  const double timeout_s = std::min(comm.wait_settings().timeout_s, kPatienceOfFailed_s);
  try {
    const TimeoutScope shorter(comm, timeout_s);
    return all_gather_integer(comm, kind);
  } catch (const Error&) {
    std::rethrow_exception(own);
  }
}

}  // namespace
namespace {

// Texts are sent as u8 tensors; callers with an NCCL group use its MPI group for them.
at::Tensor to_bytes(const std::string& text) {
  auto bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  if (!text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

}  // namespace

std::vector<int64_t> all_gather_integer(Communicator& comm, int64_t value) {
  const std::vector<int64_t> ones(comm.size(), 1);
  auto gathered = comm.all_gather(at::full({1}, value, at::kLong), ones);

  const auto* data = gathered.const_data_ptr<int64_t>();
  return {data, data + comm.size()};
}

std::string broadcast_text(Communicator& comm, std::string text, int root) {
  // Two messages, since only the root knows the length.
  auto length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  comm.broadcast(length, root);
  text.resize(length.item<int64_t>());

  auto bytes = to_bytes(text);
  if (bytes.numel() > 0) comm.broadcast(bytes, root);
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())};
}

std::vector<std::string> all_gather_text(Communicator& comm, const std::string& text) {
  // Texts differ in length, and a gather needs the counts of all ranks: lengths first.
  const auto lengths = all_gather_integer(comm, static_cast<int64_t>(text.size()));

  auto gathered = comm.all_gather(to_bytes(text), lengths);
  const auto* data = static_cast<const char*>(gathered.const_data_ptr());

  std::vector<std::string> texts;
  for (const int64_t length : lengths) {
    texts.emplace_back(data, length);
    data += length;
  }
  return texts;
}

void agree(Communicator& comm, const std::function<void()>& work) {
  constexpr int64_t kStopped = 1000;  // above every ErrorKind
  std::string message;
  int64_t kind = -1;
  std::exception_ptr own;

  // Every rank has to reach the exchange below, so all exceptions are caught here.
  try {
    work();
  } catch (const Stopped&) {
    kind = kStopped;
  } catch (...) {
    own = std::current_exception();
    const auto failure = current_failure();
    kind = static_cast<int64_t>(failure.kind);
    message = failure.message;
  }

  // The first failed rank in rank order decides, so that all ranks throw the same error.
  const auto kinds = gather_outcomes(comm, kind, own);
  for (int rank = 0; rank < comm.size(); ++rank) {
    if (kinds[rank] < 0 || kinds[rank] == kStopped) continue;
    const std::string text = broadcast_text(comm, message, rank);
    Error error(static_cast<ErrorKind>(kinds[rank]),
                comm.size() > 1 ? fmt::format("rank {}: {}", rank, text) : text, __FILE__,
                __LINE__);
    error.set_agreed();
    throw error;
  }

  // An error counts more than a signal: it would be lost behind the exit code of a stopped run.
  if (std::find(kinds.begin(), kinds.end(), kStopped) != kinds.end()) throw Stopped();
}

}  // namespace dissent
