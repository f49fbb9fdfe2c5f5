// The null GPU itself: what it refuses and what it counts.
#include "null_gpu.hpp"

#include <gtest/gtest.h>
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

namespace {

constexpr size_t kBytes = 1 << 20;

struct DeviceBlock {
  char* data = nullptr;
  DeviceBlock() { EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data), kBytes), cudaSuccess); }
  ~DeviceBlock() { cudaFree(data); }
};

struct OwnStream {
  cudaStream_t handle = nullptr;
  OwnStream() { EXPECT_EQ(cudaStreamCreate(&handle), cudaSuccess); }
};

// The signal that ends a process which does this; 0 if none does.
template <class Work>
int signal_of(const Work& work) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST(NullGpu, HostMayNotTouchDeviceMemory) {
  const DeviceBlock block;
  volatile char* data = block.data;
  EXPECT_EQ(signal_of([&] { static_cast<void>(data[5]); }), SIGSEGV);
  EXPECT_EQ(signal_of([&] { data[5] = 1; }), SIGSEGV);
}

TEST(NullGpu, CopiesKeepBytesAndComputedNumbersAreZero) {
  const DeviceBlock a, b;
  std::vector<char> host(kBytes, 7), back(kBytes, 0);
  EXPECT_EQ(cudaMemcpy(a.data, host.data(), kBytes, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(b.data, a.data, kBytes, cudaMemcpyDeviceToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(back.data(), b.data, kBytes, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(back, host);
  EXPECT_EQ(cudaMemcpy(back.data(), b.data, 8, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(back[0], 0);
}

TEST(NullGpu, RefusesCopiesBeyondAnAllocation) {
  DeviceBlock block;
  std::vector<char> host(4 * kBytes);
  EXPECT_EQ(cudaMemcpy(block.data, host.data(), 4 * kBytes, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  char* freed = block.data;
  EXPECT_EQ(cudaFree(std::exchange(block.data, nullptr)), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(freed, host.data(), 8, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(freed), cudaErrorInvalidValue);
}

TEST(NullGpu, RefusesAStreamOfAnotherDevice) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  const OwnStream stream;
  const DeviceBlock block;
  EXPECT_EQ(cudaMemsetAsync(block.data, 0, 64, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(block.data, 0, 64, stream.handle), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
}

TEST(NullGpu, CapturesWhatMayBeCaptured) {
  const OwnStream stream;
  const DeviceBlock block;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(block.data, 1, 64, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream.handle, &graph), cudaSuccess);
  size_t nodes = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 1u);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(executable, stream.handle), cudaSuccess);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST(NullGpu, LegacyStreamCannotBeCaptured) {
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal),
            cudaErrorStreamCaptureUnsupported);
}

// What CUDA forbids in a capture ends it.
TEST(NullGpu, UnsafeCallsInvalidateACapture) {
  const DeviceBlock block;
  char host[64] = {};
  void* more = nullptr;
  const OwnStream stream;
  const std::vector<std::function<cudaError_t()>> calls{
      [&] { return cudaStreamSynchronize(stream.handle); },
      [&] { return cudaStreamQuery(stream.handle); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaMalloc(&more, 64); },
      [&] { return cudaMemcpy(host, block.data, 64, cudaMemcpyDeviceToHost); },
      [&] { return cudaMemcpyAsync(host, block.data, 64, cudaMemcpyDeviceToHost, stream.handle); },
      [&] { return cudaMemsetAsync(block.data, 0, 64, nullptr); }};
  for (size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(calls[i](), cudaErrorStreamCaptureUnsupported);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream.handle, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
  }
}

TEST(NullGpu, PinnedMemoryIsKnown) {
  void* host = nullptr;
  ASSERT_EQ(cudaHostAlloc(&host, 4096, 0), cudaSuccess);
  cudaPointerAttributes attributes;
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, static_cast<char*>(host) + 100), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
  int own = 0;
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, &own), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
}

TEST(NullGpu, MemoryEnds) {
  void* all = nullptr;
  EXPECT_EQ(cudaMalloc(&all, size_t{200} << 30), cudaErrorMemoryAllocation);
  EXPECT_EQ(all, nullptr);
}

// Two communicators of one process, as two ranks.
TEST(NullNccl, ReducesAndBroadcastsBehindTheCallersBack) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t comms[2] = {};
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  for (int rank = 0; rank < 2; ++rank)
    ASSERT_EQ(ncclCommInitRankConfig(&comms[rank], 2, id, rank, &config), ncclInProgress);
  const OwnStream streams[2];
  const DeviceBlock blocks[2];
  std::vector<float> host(kBytes / sizeof(float));
  for (int rank = 0; rank < 2; ++rank) {
    std::fill(host.begin(), host.end(), static_cast<float>(rank + 1));
    cudaMemcpy(blocks[rank].data, host.data(), kBytes, cudaMemcpyHostToDevice);
  }
  EXPECT_EQ(ncclAllReduce(blocks[0].data, blocks[0].data, host.size(), ncclFloat32, ncclSum,
                          comms[0], streams[0].handle),
            ncclInProgress);
  usleep(50000);  // the other rank has not called
  EXPECT_EQ(cudaStreamQuery(streams[0].handle), cudaErrorNotReady);
  EXPECT_EQ(ncclAllReduce(blocks[1].data, blocks[1].data, host.size(), ncclFloat32, ncclSum,
                          comms[1], streams[1].handle),
            ncclInProgress);
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(cudaStreamSynchronize(streams[rank].handle), cudaSuccess);
    cudaMemcpy(host.data(), blocks[rank].data, kBytes, cudaMemcpyDeviceToHost);
    EXPECT_EQ(host.front(), 3);
    EXPECT_EQ(host.back(), 3);
  }
  for (auto* comm : comms) EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
}

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
