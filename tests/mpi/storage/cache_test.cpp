#include <cstdint>
#include <filesystem>
#include <string>

#include "mpi_main.hpp"
#include "storage/h5.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

// 7 shards of 600, the last of 1 row: split over 3 ranks some parts are cut, some empty.
CacheSpec seven_shards(at::ScalarType dtype) {
  auto spec = small_spec(dtype);
  spec.passes = 1;
  spec.rows_per_pass = 3601;
  spec.shard_rows = 600;
  return spec;
}

struct MpiCache : ::testing::Test {
  Communicator& comm = world();
  TempFolder folder{comm};
  std::string path = folder / "set.cache";
  // The reader checks on every rank; nothing is deleted before all are done.
  void TearDown() override { comm.barrier(); }
};

}  // namespace

TEST_F(MpiCache, SameBytesForAnyNumberOfRanks) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const auto spec = seven_shards(dtype);
    const std::string together = folder / dtype_name(dtype) + "_together.cache",
                      alone = folder / dtype_name(dtype) + "_alone.cache";
    EXPECT_EQ(write_cache(comm, together, spec), CacheWriter::State::kNew);
    if (comm.rank() == 0) write_cache(*make_self_communicator(), alone, spec);
    comm.barrier();
    const auto cache = FeatureCache::open(together);
    EXPECT_EQ(cache.shards().size(), 7u);
    EXPECT_TRUE(at::equal(cache.read_rows(0, cache.rows()), expected_features(spec)));
    EXPECT_TRUE(at::equal(cache.read_index(0, cache.rows()), index_of(0, cache.rows())));
    EXPECT_TRUE(at::equal(cache.read_labels(0, cache.rows()), labels_of(spec, 0, cache.rows())));
    cache.verify(comm);
    EXPECT_EQ(read_text(together + "/manifest.toml"), read_text(alone + "/manifest.toml"));
    for (const auto& shard : cache.shards())
      EXPECT_TRUE(read_text(together + "/" + shard.file) == read_text(alone + "/" + shard.file))
          << shard.file;
    EXPECT_FALSE(std::filesystem::exists(together + "/manifest.toml.partial"));
  }
}

TEST_F(MpiCache, PartsCoverTheShardOnceInRankOrder) {
  auto writer = CacheWriter::open(comm, path, seven_shards(at::kFloat), false);
  const auto part = *writer.next_shard();
  const auto firsts = all_gather_integer(comm, part.first_source_row),
             counts = all_gather_integer(comm, part.count);
  int64_t next = 0;
  for (int rank = 0; rank < comm.size(); ++rank) {
    EXPECT_EQ(firsts[rank], next);
    EXPECT_EQ(firsts[rank] % 256, 0);
    next += counts[rank];
  }
  EXPECT_EQ(next, 600);
  EXPECT_EQ(part.shard, 0);
}

TEST_F(MpiCache, ResumesWhereItStopped) {
  const auto spec = small_spec();
  EXPECT_EQ(write_cache(comm, path, spec, 3), CacheWriter::State::kNew);
  comm.barrier();
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { FeatureCache::open(path); }),
                  "incomplete: expected 9 shards, found 3");
  comm.barrier();
  const auto before = std::filesystem::last_write_time(path + "/shard-00002.h5");
  if (comm.rank() == 0)
    atomic_write_text(path + "/shard-00003.h5.tmp", "left by the stopped writer");
  comm.barrier();
  // A resumed cache keeps its own shards, also when another size is asked for now.
  auto other = spec;
  other.shard_rows = 100;
  {
    const auto writer = CacheWriter::open(comm, path, other, false);
    EXPECT_EQ(writer.state(), CacheWriter::State::kResumed);
    EXPECT_EQ(writer.finished_shards(), 3);
    EXPECT_EQ(writer.shard_count(), 9);
    EXPECT_EQ(writer.next_shard()->pass, 1);
  }
  comm.barrier();
  EXPECT_EQ(write_cache(comm, path, spec), CacheWriter::State::kResumed);
  EXPECT_EQ(std::filesystem::last_write_time(path + "/shard-00002.h5"), before);
  const auto cache = FeatureCache::open(path);
  EXPECT_TRUE(at::equal(cache.read_rows(0, cache.rows()), expected_features(spec)));
  cache.verify(comm);
}

TEST_F(MpiCache, FinishedCacheIsReusedAnotherOneRefused) {
  auto spec = small_spec();
  write_cache(comm, path, spec);
  EXPECT_EQ(write_cache(comm, path, spec), CacheWriter::State::kFinished);
  spec.transform = "flip";
  spec.passes = 2;
  spec.configuration_hash = "4567";
  const auto message =
      error_of(ErrorKind::kUsage, [&] { CacheWriter::open(comm, path, spec, false); });
  EXPECT_CONTAINS(message,
                  "passes is 3 there, 2 here; transform is \"identity\" there, \"flip\" here; "
                  "configuration_hash is \"0123\" there, \"4567\" here");
  comm.barrier();
  EXPECT_EQ(FeatureCache::open(path).passes(), 3);
  comm.barrier();
  EXPECT_EQ(write_cache(comm, path, spec, 1 << 20, true), CacheWriter::State::kNew);
  EXPECT_EQ(FeatureCache::open(path).passes(), 2);
  EXPECT_FALSE(std::filesystem::exists(path + "/shard-00008.h5"));
}

TEST_F(MpiCache, OneRanksBadValueStopsAll) {
  const auto spec = seven_shards(at::kFloat);
  auto writer = CacheWriter::open(comm, path, spec, false);
  const auto part = *writer.next_shard();
  auto labels = labels_of(spec, part.first_source_row, part.count);
  if (part.first_source_row + part.count == 600 && part.count > 0) labels[-1] = 10;
  const auto message = error_of(ErrorKind::kData, [&] {
    writer.write_shard(features_of(spec, 0, part.first_source_row, part.count), labels,
                       index_of(part.first_source_row, part.count));
  });
  EXPECT_CONTAINS(message, "label of row 599: expected -1 .. 9, found 10");
  EXPECT_EQ(writer.finished_shards(), 0);
}

TEST_F(MpiCache, FullDiskIsOneErrorOnEveryRankAndCanBeResumed) {
  const auto spec = small_spec();
  write_cache(comm, path, spec, 2);
  comm.barrier();
  {
    FileSizeLimit full(6000);
    const auto message = error_of(ErrorKind::kData, [&] { write_cache(comm, path, spec); });
    EXPECT_CONTAINS(message, "shard-00002.h5.tmp: ");
    EXPECT_CONTAINS(message, "File too large");
    const auto messages = all_gather_text(comm, message);
    EXPECT_EQ(messages.back(), messages.front());
  }
  EXPECT_FALSE(std::filesystem::exists(path + "/manifest.toml"));
  EXPECT_FALSE(std::filesystem::exists(path + "/shard-00002.h5.tmp"));
  comm.barrier();
  EXPECT_EQ(write_cache(comm, path, spec), CacheWriter::State::kResumed);
  FeatureCache::open(path).verify(comm);
}

// The write itself fails, behind HDF5 and MPI: every rank hears of it, and the file can still be
// closed by all. Open MPI's collective write reports success for 3 ranks, and the check afterwards
// finds it.
TEST_F(MpiCache, FailedCollectiveWriteIsAgreed) {
  const std::string file_path = folder / "rows.h5";
  constexpr int64_t kRows = 300000;
  if (comm.rank() == 0) {
    auto file = h5_create(file_path);
    h5_add_dataset(file, "x", {kRows}, at::kLong, file_path);
    file.close(file_path);
    reserve_space(file_path);
  }
  comm.barrier();
  UniqueHandle file = h5_open_shared(file_path, comm);
  const int64_t first = kRows * comm.rank() / comm.size(),
                count = kRows * (comm.rank() + 1) / comm.size() - first;
  const auto values = index_of(first, count) + 1;
  const auto write = [&] {
    agree(comm, [&] { h5_write_rows(file, "x", first, values, comm, file_path); });
    agree(comm, [&] { h5_flush(file, file_path); });
    agree(comm, [&] { h5_check_rows(file, "x", first, values, file_path); });
  };
  {
    FileSizeLimit full(100000);
    EXPECT_CONTAINS(error_of(ErrorKind::kData, write), "rows.h5: x: ");
  }
  write();
  agree(comm, [&] { file.close(file_path); });
}
