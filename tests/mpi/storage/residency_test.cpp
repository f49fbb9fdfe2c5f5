#include <fstream>
#include <ios>
#include <limits>
#include <memory>
#include <vector>

#include "storage/residency.hpp"

#include "mpi_main.hpp"
#include "storage/cache_file.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

struct MpiResidency : ::testing::Test {
  Communicator& comm = world();
  TempFolder folder{comm};
  std::string path = folder / "set.cache";
  std::unique_ptr<Communicator> node = comm.split_by_node();
  // Writing by all ranks is tested elsewhere; one does it faster where cores are shared.
  void write(const CacheSpec& spec) {
    comm.barrier();
    if (comm.rank() == 0) write_cache(*make_self_communicator(), path, spec, 1 << 20, true);
    comm.barrier();
  }
  void TearDown() override { comm.barrier(); }
};

}  // namespace

TEST_F(MpiResidency, EqualsWhatTheCacheGives) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const auto spec = small_spec(dtype);
    write(spec);
    const auto cache = FeatureCache::open(path);
    auto rows = HostResidency::load(*node, cache, all_rows(cache));
    EXPECT_EQ(rows.rows(), 3000);
    EXPECT_EQ(rows.rows_per_pass(), 1000);
    EXPECT_EQ(rows.embed().scalar_type(), dtype);
    EXPECT_TRUE(at::equal(rows.embed().to(at::kFloat), cache.read_rows(0, 3000)));
    EXPECT_TRUE(at::equal(rows.labels(), cache.read_labels(0, 3000)));
    EXPECT_TRUE(at::equal(rows.index(), cache.read_index(0, 3000)));
    const std::vector<int64_t> batch = {2999, 0, 1500, 1500, 7};
    const auto order = at::tensor(batch, at::kLong);
    EXPECT_TRUE(at::equal(rows.take(batch), cache.read_rows(0, 3000).index_select(0, order)));
    EXPECT_TRUE(at::equal(rows.take_labels(batch), rows.labels().index_select(0, order)));
    EXPECT_TRUE(at::equal(rows.take_index(batch), rows.index().index_select(0, order)));
    EXPECT_EQ(rows.take({}).sizes().vec(), (std::vector<int64_t>{0, 5}));
    for (const int64_t wrong : {int64_t{-1}, int64_t{3000}})
      error_of(ErrorKind::kInternal, [&] { rows.take({&wrong, 1}); });
    rows.close();
  }
}

// Rank 0 writes into the window after the load: with one copy a node, the others see it.
TEST_F(MpiResidency, RanksOfANodeShareOneCopy) {
  write(small_spec());
  const auto cache = FeatureCache::open(path);
  auto rows = HostResidency::load(*node, cache, all_rows(cache));
  if (node->rank() == 0) rows.embed()[2000][3].fill_(77);
  node->barrier();
  EXPECT_EQ(rows.embed()[2000][3].item<float>(), 77);
  rows.close();
}

TEST_F(MpiResidency, SubsetOfSomePasses) {
  const auto spec = small_spec();
  write(spec);
  const auto cache = FeatureCache::open(path);
  RowSubset subset{{0, 3, 4, 5, 500, 998}, false, "list"};
  for (const bool complement : {false, true}) {
    subset.complement = complement;
    auto rows = HostResidency::load(*node, cache, select_rows(cache, 1, 2, subset));
    EXPECT_EQ(rows.rows_per_pass(), complement ? 994 : 6);
    auto listed = at::zeros({1000}, at::kBool);
    listed.index_fill_(0, at::tensor(subset.positions, at::kLong), 1);
    const auto kept = (complement ? listed.logical_not() : listed).nonzero().squeeze(1);
    const auto expected = at::cat({expected_features(spec).index_select(0, kept + 1000),
                                   expected_features(spec).index_select(0, kept + 2000)});
    EXPECT_TRUE(at::equal(rows.embed(), expected));
    EXPECT_TRUE(at::equal(rows.index(), at::cat({kept, kept})));
    EXPECT_TRUE(at::equal(rows.labels(), at::cat({kept, kept}).remainder(10)));
    rows.close();
  }
}

// The value is in the last rank's share; every rank throws the same error, and the next load works.
TEST_F(MpiResidency, ValueThatIsNotFinite) {
  const auto spec = small_spec();
  write(spec);
  if (comm.rank() == 0) {
    const std::string shard = path + "/shard-00008.h5";
    remove_seal(shard);  // else the value is damage
    const auto offset = CacheFile::open(shard).embed.offset;
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    const float value = std::numeric_limits<float>::quiet_NaN();
    file.seekp(offset + (141 * 5 + 4) * 4);
    file.write(reinterpret_cast<const char*>(&value), sizeof value);
  }
  comm.barrier();
  const auto cache = FeatureCache::open(path);
  const auto message =
      error_of(ErrorKind::kData, [&] { HostResidency::load(*node, cache, all_rows(cache)); });
  EXPECT_CONTAINS(message, "set.cache: row 2999, column 4: expected a finite feature, found nan");
  EXPECT_EQ(all_gather_text(comm, message).back(), message);
  auto rows = HostResidency::load(*node, cache, select_rows(cache, 0, 2));
  EXPECT_EQ(rows.rows(), 2000);
  rows.close();
}

TEST_F(MpiResidency, ChecksSharedMemoryFirst) {
  write(small_spec());
  const auto cache = FeatureCache::open(path);
  if (node->size() == 1) return;  // an ordinary allocation
  RowSelection huge{{{0, 3000}}, 1, int64_t{1} << 40};
  const auto message = error_of(ErrorKind::kData, [&] { HostResidency::load(*node, cache, huge); });
  EXPECT_CONTAINS(message, "needs 36.0 TiB, /dev/shm has ");
}
