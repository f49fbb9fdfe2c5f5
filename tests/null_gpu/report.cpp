#include <execinfo.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "null_gpu.hpp"

namespace null_gpu {
namespace {

constexpr int kCounts = static_cast<int>(Count::kEnd);
constexpr const char* kNames[kCounts] = {"launches",
                                         "on_default_stream",
                                         "captured_nodes",
                                         "graphs",
                                         "failed_captures",
                                         "graph_launches",
                                         "copies_to_device",
                                         "copies_to_host",
                                         "pageable_copies",
                                         "copies_on_device",
                                         "host_copies_in_graphs",
                                         "fills",
                                         "synchronisations",
                                         "event_queries",
                                         "allocations",
                                         "allocated_bytes",
                                         "pinned_allocations",
                                         "collectives",
                                         "errors"};
std::atomic<int64_t> counts[kCounts];
thread_local cudaError_t last_error = cudaSuccess;

int verbosity() {
  static const int level = static_cast<int>(setting("NULL_GPU_LOG", 0));
  return level;
}

void print_backtrace() {
  void* frames[40];
  backtrace_symbols_fd(frames, backtrace(frames, 40), STDERR_FILENO);
}

// NULL_GPU_REPORT: folder that gets RANK.csv, a line of names and one of numbers, when the process
// ends.
void write_report() {
  const char* folder = std::getenv("NULL_GPU_REPORT");
  if (!folder || counts[static_cast<int>(Count::kAllocations)] == 0) return;
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  const std::string path = std::string(folder) + "/" + (rank ? rank : "0") + ".csv";
  FILE* file = std::fopen(path.c_str(), "w");
  if (!file) return;
  for (int i = 0; i < kCounts; ++i) std::fprintf(file, "%s%s", i ? "," : "", kNames[i]);
  std::fputc('\n', file);
  for (int i = 0; i < kCounts; ++i)
    std::fprintf(file, "%s%lld", i ? "," : "", static_cast<long long>(counts[i]));
  std::fputc('\n', file);
  std::fclose(file);
}
[[gnu::destructor]] void at_end() { write_report(); }

}  // namespace

double setting(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atof(text) : otherwise;
}

void count(Count what, int64_t by) {
  counts[static_cast<int>(what)] += by;
  if (what == Count::kSynchronisations && verbosity() > 2) {
    std::fprintf(stderr, "null_gpu: a synchronisation\n");
    print_backtrace();
  }
}

cudaError_t fail(cudaError_t code, const char* call) {
  last_error = code;
  if (code == cudaErrorNotReady) return code;
  count(Count::kErrors);
  std::fprintf(stderr, "null_gpu: %s: error %d (%s)\n", call, code, cudaGetErrorName(code));
  if (verbosity() > 1) print_backtrace();
  return code;
}

}  // namespace null_gpu

extern "C" {

cudaError_t cudaGetLastError() {
  const auto code = null_gpu::last_error;
  null_gpu::last_error = cudaSuccess;
  return code;
}
cudaError_t cudaPeekAtLastError() { return null_gpu::last_error; }

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureWrongThread: return "cudaErrorStreamCaptureWrongThread";
    default: return "another error";
  }
}
const char* cudaGetErrorString(cudaError_t code) { return cudaGetErrorName(code); }

}  // extern "C"
