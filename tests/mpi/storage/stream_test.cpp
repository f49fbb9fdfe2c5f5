#include "storage/chunk_stream.hpp"

#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "memory_use.hpp"
#include "mpi_main.hpp"
#include "storage/cache_file.hpp"
#include "storage/residency.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

struct MpiStream : ::testing::Test {
  Communicator& comm = world();
  TempFolder folder{comm};
  std::string path = folder / "set.cache";
  std::unique_ptr<Communicator> node = comm.split_by_node();

  void write(const CacheSpec& spec) {
    comm.barrier();
    if (comm.rank() == 0) write_cache(*make_self_communicator(), path, spec, 1 << 20, true);
    comm.barrier();
  }
  void TearDown() override { comm.barrier(); }
};

std::vector<int64_t> places(int64_t first, int64_t count) {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

// Goes through one pass and gives its rows and labels in file order.
std::pair<at::Tensor, at::Tensor> read_pass(ChunkStream& stream, int64_t pass) {
  std::vector<at::Tensor> rows, labels;
  stream.start_pass(pass);
  for (int64_t k = 0; k < stream.chunks(); ++k) {
    stream.chunk(k);
    const int64_t first = k * stream.chunk_rows(),
                  count = std::min(stream.chunk_rows(), stream.rows_per_pass() - first);
    const auto all = places(pass * stream.rows_per_pass() + first, count);
    rows.push_back(stream.take(all));
    labels.push_back(stream.take_labels(all));
  }
  return {at::cat(rows), at::cat(labels)};
}

// A file of SED's with chunked datasets, floats throughout.
void write_chunked_sed_file(const std::string& path, const CacheSpec& spec) {
  auto file = h5_create(path);
  const auto column = [&](const at::Tensor& values) {
    return values.to(at::kFloat).repeat({spec.passes}).unsqueeze(1);
  };
  const std::pair<const char*, at::Tensor> columns[] = {
      {"embed", expected_features(spec)},
      {"label", column(labels_of(spec, 0, spec.rows_per_pass))},
      {"index", column(index_of(0, spec.rows_per_pass))}};
  for (const auto& [name, values] : columns) {
    UniqueHandle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t chunk[] = {64, 1}, shape[] = {static_cast<hsize_t>(values.size(0)),
                                                static_cast<hsize_t>(values.size(1))};
    H5Pset_chunk(creation, 2, chunk);
    UniqueHandle space(H5Screate_simple(2, shape, nullptr), H5Sclose);
    UniqueHandle(DISSENT_H5(H5Dcreate2(file, name, h5_type(values.scalar_type()), space,
                                       H5P_DEFAULT, creation, H5P_DEFAULT),
                            path),
                 H5Dclose)
        .close(path);
    h5_write_rows(file, name, 0, values, *make_self_communicator(), path);
  }
  file.close(path);
}

// 1 pass of 131,072 rows of 1 KiB: 128 MiB and labels.
CacheSpec large_spec() {
  auto spec = small_spec();
  spec.dim = 256;
  spec.passes = 1;
  spec.rows_per_pass = 131072;
  spec.shard_rows = 20000;
  return spec;
}

}  // namespace

// Chunks that divide neither the pass (1000 rows) nor the shards (429): 8 of 120, the last of 40.
// Passes twice over, in any order.
TEST_F(MpiStream, EveryChunkEqualsWhatTheCacheGives) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    write(small_spec(dtype));
    const auto cache = FeatureCache::open(path);
    auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), 120);
    EXPECT_EQ(stream.chunks(), 9);
    for (const int64_t pass : {0, 1, 2, 0, 2, 2}) {
      const auto [rows, labels] = read_pass(stream, pass);
      EXPECT_TRUE(at::equal(rows, cache.read_rows(pass * 1000, 1000)));
      EXPECT_TRUE(at::equal(labels, cache.read_labels(pass * 1000, 1000)));
    }
    stream.close();
  }
}

TEST_F(MpiStream, TakesAnyOrderWithinTheCurrentChunkOnly) {
  write(small_spec());
  const auto cache = FeatureCache::open(path);
  auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), 300);
  error_of(ErrorKind::kInternal, [&] { stream.take(places(0, 1)); });
  stream.start_pass(1, 2);
  stream.chunk(2);
  const std::vector<int64_t> batch = {1899, 1600, 1600, 1750};
  EXPECT_TRUE(at::equal(stream.take(batch),
                        cache.read_rows(0, 3000).index_select(0, at::tensor(batch, at::kLong))));
  EXPECT_TRUE(at::equal(stream.take_labels(batch),
                        cache.read_labels(0, 3000).index_select(0, at::tensor(batch, at::kLong))));
  EXPECT_EQ(stream.take({}).sizes().vec(), (std::vector<int64_t>{0, 5}));
  for (const int64_t wrong : {int64_t{1599}, int64_t{1900}, int64_t{600}, int64_t{-1}})
    EXPECT_CONTAINS(error_of(ErrorKind::kInternal, [&] { stream.take({&wrong, 1}); }),
                    "expected a row of the current chunk, 1600 .. 1899");
  // Back, over the read-ahead of chunk 3, and forth.
  for (const int64_t k : {0, 3, 3, 1, 2}) {
    stream.chunk(k);
    const int64_t row = 1000 + k * 300;
    EXPECT_TRUE(at::equal(stream.take({&row, 1}), cache.read_rows(row, 1)));
  }
  stream.close();
}

// A stream whose two buffers hold the whole pass, and one with chunk_rows 0, read each row once.
TEST_F(MpiStream, ChunksAsLargeAsAPass) {
  auto spec = small_spec();
  spec.passes = 1;
  write(spec);
  const auto cache = FeatureCache::open(path);
  for (const int64_t chunk_rows : {0, 500, 1000, 99999}) {
    auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), chunk_rows);
    EXPECT_EQ(stream.chunks(), chunk_rows == 500 ? 2 : 1);
    for (int epoch = 0; epoch < 3; ++epoch) {
      EXPECT_TRUE(at::equal(read_pass(stream, 0).first, expected_features(spec)));
      if (comm.size() == 1 && epoch == 0)
        std::filesystem::resize_file(path + "/shard-00002.h5", 4000);  // everything is in memory
    }
    stream.close();
    if (comm.size() == 1) std::filesystem::remove_all(path), write(spec);
  }
}

TEST_F(MpiStream, SubsetWithGaps) {
  write(small_spec());
  const auto cache = FeatureCache::open(path);
  RowSubset subset{{0, 3, 4, 5, 500, 998}, false, "list"};
  for (const bool complement : {false, true}) {
    subset.complement = complement;
    const auto selection = select_rows(cache, 1, 2, subset);
    auto held = HostResidency::load(*node, cache, selection);
    auto stream =
        ChunkStream::open(*node, FeatureCache::open(path), selection, complement ? 333 : 4);
    for (const int64_t pass : {0, 1}) {
      const auto [rows, labels] = read_pass(stream, pass);
      EXPECT_TRUE(at::equal(
          rows, held.embed().narrow(0, pass * held.rows_per_pass(), held.rows_per_pass())));
      EXPECT_TRUE(at::equal(
          labels, held.labels().narrow(0, pass * held.rows_per_pass(), held.rows_per_pass())));
    }
    stream.close();
    held.close();
  }
}

// The bound is a quarter of the cache. Peak resident size grows by at most 1.2 times it on each
// rank (of the shared buffers, what a rank has touched).
TEST_F(MpiStream, CacheFourTimesItsBoundStaysWithinIt) {
  write(large_spec());
  auto cache = FeatureCache::open(path);
  const int64_t bound = cache.rows() * (256 * 4 + 8) / 4,
                chunk_rows = ChunkStream::largest_chunk(cache, bound);
  EXPECT_EQ(chunk_rows, 16384);
  EXPECT_LE(ChunkStream::bytes(cache, chunk_rows), bound);
  std::vector<int> seen(cache.rows());
  double difference = 0;
  malloc_trim(0);
  reset_peak_memory();
  const int64_t before = status_bytes("VmHWM:");
  auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), chunk_rows);
  for (int epoch = 0; epoch < 2; ++epoch) {
    stream.start_pass(0);
    for (int64_t k = 0; k < stream.chunks(); ++k) {
      stream.chunk(k);
      for (int64_t first = k * chunk_rows; first < (k + 1) * chunk_rows; first += 256) {
        const auto batch = places(first, 256);
        difference =
            std::max(difference,
                     (stream.take(batch) - cache.read_rows(first, 256)).abs().max().item<double>());
        for (const int64_t row : batch) ++seen[row];
      }
    }
  }
  const int64_t grown = status_bytes("VmHWM:") - before;
  stream.close();
  EXPECT_EQ(difference, 0);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 2), cache.rows());
  if (kMeasures) {
    EXPECT_LE(static_cast<double>(grown), 1.2 * static_cast<double>(bound));
  }
  EXPECT_GE(static_cast<double>(grown),
            0.8 * static_cast<double>(bound));  // else nothing is measured
  fmt::print("stream: bound {} bytes, peak resident size grew by {}\n", bound, grown);
}

// Shard 7 is cut after the cache was opened: an error of whichever rank reads those rows, on every
// rank, when the chunk is asked for; not a crash, and chunks before it are right.
TEST_F(MpiStream, FileCutWhileItIsReadIsOneErrorOnEveryRank) {
  write(small_spec());
  const auto cache = FeatureCache::open(path);
  auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), 250);
  comm.barrier();
  if (comm.rank() == 0) std::filesystem::resize_file(path + "/shard-00007.h5", 3000);
  comm.barrier();
  stream.start_pass(2);
  stream.chunk(0);
  EXPECT_TRUE(at::equal(stream.take(places(2000, 250)), cache.read_rows(2000, 250)));
  const auto message = error_of(ErrorKind::kData, [&] { stream.chunk(1); });
  EXPECT_CONTAINS(message, "shard-00007.h5: truncated: ");
  for (const auto& other : all_gather_text(comm, message)) EXPECT_EQ(other, message);
  // The error stays for that chunk, and others can be read.
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { stream.chunk(1); }), "truncated");
  EXPECT_TRUE(at::equal(read_pass(stream, 1).first, cache.read_rows(1000, 1000)));
  stream.close();
}

TEST_F(MpiStream, ValueThatIsNotFiniteStopsItsChunk) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    write(small_spec(dtype));
    const std::string shard = path + "/shard-00001.h5";
    if (comm.rank() == 0) {
      const auto values =
          at::full({1}, -std::numeric_limits<double>::infinity(), at::kDouble).to(dtype);
      remove_seal(shard);  // else the value is damage
      std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(CacheFile::open(shard).embed.offset + (171 * 5 + 2) * values.element_size());
      file.write(static_cast<const char*>(values.const_data_ptr()), values.element_size());
    }
    comm.barrier();
    const auto cache = FeatureCache::open(path);
    auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), 200);
    stream.start_pass(0);
    for (int64_t k = 0; k < 3; ++k) stream.chunk(k);
    EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { stream.chunk(3); }),
                    "set.cache: row 600, column 2: expected a finite feature, found -inf");
    stream.close();
  }
}

// A SED file with chunked datasets goes through HDF5 on the calling thread, with the same rows.
TEST_F(MpiStream, FilesBehindHdf5) {
  const auto spec = small_spec();
  const std::string sed = folder / "set.hdf5";
  if (comm.rank() == 0) write_chunked_sed_file(sed, spec);
  comm.barrier();
  const auto cache = FeatureCache::open(sed);
  EXPECT_FALSE(cache.concurrent_reads());
  auto stream = ChunkStream::open(*node, FeatureCache::open(sed), all_rows(cache), 120);
  for (const int64_t pass : {0, 2, 1}) {
    const auto [rows, labels] = read_pass(stream, pass);
    EXPECT_TRUE(at::equal(rows, expected_features(spec).narrow(0, pass * 1000, 1000)));
    EXPECT_TRUE(at::equal(labels, labels_of(spec, 0, 1000)));
  }
  stream.close();
}

TEST_F(MpiStream, ChecksMemoryFirst) {
  write(small_spec());
  const auto cache = FeatureCache::open(path);
  RowSelection huge{{{0, 3000}}, 1, int64_t{1} << 40};
  // Several ranks share a window in /dev/shm, which is full as a disk is.
  const auto message = error_of(node->size() > 1 ? ErrorKind::kData : ErrorKind::kMemory, [&] {
    ChunkStream::open(*node, FeatureCache::open(path), huge, 0);
  });
  EXPECT_CONTAINS(message, "set.cache needs 56.0 TiB, ");
}
