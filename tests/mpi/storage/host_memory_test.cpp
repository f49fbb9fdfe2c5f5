// What host residency takes from a node; run with 4 ranks.
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "memory_use.hpp"
#include "mpi_main.hpp"
#include "storage/h5.hpp"
#include "storage/node_memory.hpp"
#include "storage/residency.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

struct MpiHostMemory : ::testing::Test {
  Communicator& comm = world();
  TempFolder folder{comm};
  std::string path = folder / "set.cache";
  std::unique_ptr<Communicator> node = comm.split_by_node();
  void TearDown() override { comm.barrier(); }
};

int64_t sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

// A cache of one shard with holes instead of values: as many bytes as asked for, and next to none
// on the disk.
void write_sparse_cache(const std::string& path, int64_t bytes) {
  CacheSpec spec = small_spec();
  spec.dim = 16384;
  spec.passes = 1;
  spec.rows_per_pass = spec.shard_rows = bytes / (spec.dim * 4);
  CacheManifest manifest{spec, "test", plan_shards(spec)};
  manifest.shards[0].checksum = "xxh3:0000000000000000";
  make_folder(path);
  const std::string shard = path + "/" + manifest.shards[0].file;
  auto file = h5_create(shard);
  h5_add_dataset(file, "embed", {spec.rows(), spec.dim}, spec.dtype, shard);
  h5_add_dataset(file, "label", {spec.rows()}, at::kInt, shard);
  h5_add_dataset(file, "index", {spec.rows()}, at::kLong, shard);
  file.close(shard);
  atomic_write_text(path + "/" + kManifestName, manifest_text(manifest));
}

}  // namespace

// 64 MiB on 4 ranks, after every rank has read all of it: the ranks' proportional set sizes grow by
// one copy together, not by four.
TEST_F(MpiHostMemory, FourRanksHoldOneCopy) {
  auto spec = small_spec();
  spec.dim = 256;
  spec.passes = 1;
  spec.rows_per_pass = spec.shard_rows = 65536;
  if (comm.rank() == 0) write_cache(*make_self_communicator(), path, spec);
  comm.barrier();
  const auto cache = FeatureCache::open(path);
  const int64_t bytes = HostResidency::bytes(cache, all_rows(cache));
  malloc_trim(0);  // what writing the cache left free in the heap would be used again, and not be
                   // counted as grown
  const auto before = all_gather_integer(comm, proportional_bytes());
  auto rows = HostResidency::load(*node, cache, all_rows(cache));
  std::vector<int64_t> batch(256);
  double total = 0;
  for (int64_t first = 0; first < rows.rows(); first += 256) {
    std::iota(batch.begin(), batch.end(), first);
    total += rows.take(batch).sum().item<double>() + rows.take_labels(batch).sum().item<double>();
  }
  EXPECT_TRUE(std::isfinite(total));
  node->barrier();
  const auto after = all_gather_integer(comm, proportional_bytes());
  const int64_t grown = sum(after) - sum(before);
  if (kMeasures) {
    EXPECT_GE(static_cast<double>(grown), 0.95 * static_cast<double>(bytes));
    EXPECT_LE(static_cast<double>(grown), 1.1 * static_cast<double>(bytes));
  }
  if (comm.rank() == 0)
    fmt::print("host: {} bytes of rows, proportional set sizes of {} ranks grew by {}\n", bytes,
               comm.size(), grown);
  rows.close();
}

// Larger than the free space of /dev/shm, and of memory: an error on every rank that names both
// sizes, and nothing was allocated.
TEST_F(MpiHostMemory, CacheLargerThanSharedMemoryIsAnErrorBeforeAllocation) {
  const int64_t free = free_bytes("/dev/shm"),
                wanted = 2 * std::max(free, available_memory_bytes());
  if (comm.rank() == 0) write_sparse_cache(path, wanted);
  comm.barrier();
  const auto cache = FeatureCache::open(path);
  EXPECT_GE(HostResidency::bytes(cache, all_rows(cache)), wanted - 16384 * 4);
  reset_peak_memory();
  const int64_t before = status_bytes("VmHWM:");
  const auto message = error_of(node->size() > 1 ? ErrorKind::kData : ErrorKind::kMemory,
                                [&] { HostResidency::load(*node, cache, all_rows(cache)); });
  EXPECT_CONTAINS(message, "host residency of " + path + " needs ");
  EXPECT_CONTAINS(message, node->size() > 1 ? "/dev/shm has " : "of memory available");
  for (const auto& other : all_gather_text(comm, message)) EXPECT_EQ(other, message);
  EXPECT_LE(status_bytes("VmHWM:") - before, 4 << 20);
  EXPECT_GE(free_bytes("/dev/shm"), free - (64 << 20));  // others use it too
}
