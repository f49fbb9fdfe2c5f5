#include <filesystem>

#include "storage/checkpoint.hpp"

#include "self.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

struct CheckpointTest : ::testing::Test {
  TempFolder folder{*self};
  std::string path = folder / "checkpoint.h5";
  at::Tensor weight = at::arange(5 * 3 * 2).reshape({5, 3, 2}).to(at::kFloat);
  void write(int64_t epoch) {
    CheckpointWriter writer(*self, path, "seeds = [42]\n", "cafe",
                            {{"epoch", epoch}, {"best", 0.1}, {"by", "accuracy"}});
    writer.add("members/head.weight", {5, 3, 2}, 0, weight);
    writer.add("optimizer/exp_avg/head.weight", {5, 3, 2}, 0, weight.to(at::kBFloat16));
    writer.add("optimizer/steps", {5}, 0, at::arange(5, at::kLong));
    writer.commit();
  }
};

}  // namespace

TEST_F(CheckpointTest, ComesBack) {
  write(7);
  const CheckpointReader reader(path);
  EXPECT_EQ(reader.config_text(), "seeds = [42]\n");
  EXPECT_EQ(reader.config_hash(), "cafe");
  EXPECT_EQ(reader.integer("epoch"), 7);
  EXPECT_EQ(reader.number("best"), 0.1);
  EXPECT_EQ(reader.number("epoch"), 7.0);
  EXPECT_EQ(reader.text("by"), "accuracy");
  EXPECT_EQ(reader.names("members"), std::vector<std::string>{"head.weight"});
  EXPECT_EQ(reader.names("optimizer"), (std::vector<std::string>{"exp_avg/head.weight", "steps"}));
  EXPECT_TRUE(reader.names("discriminators").empty());
  EXPECT_TRUE(reader.has("optimizer/steps"));
  EXPECT_FALSE(reader.has("amp/scale"));
  EXPECT_TRUE(at::equal(reader.read_slab("members/head.weight", 1, 3), weight.narrow(0, 1, 3)));
  EXPECT_TRUE(
      at::equal(reader.read_slab("optimizer/exp_avg/head.weight", 0, 5), weight.to(at::kBFloat16)));
  EXPECT_EQ(reader.dtype("optimizer/steps"), at::kLong);
}

TEST_F(CheckpointTest, NamesWhatDoesNotFit) {
  write(7);
  const CheckpointReader reader(path);
  reader.expect_shape("members/head.weight", 5, {3, 2});
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData,
               [&] { reader.expect_shape("members/head.weight", 5, {10, 784}, 3); }),
      "checkpoint.h5: member 3: head.weight: expected [10, 784] as in this configuration, "
      "found [3, 2]");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { reader.expect_shape("members/head.weight", 50, {3, 2}); }),
      "head.weight: expected 50 members as in this configuration, found 5");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { reader.expect_shape("members/head.bias", 5, {3}); }),
      "expected a dataset 'members/head.bias', found none");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { reader.read_slab("members/head.weight", 4, 2); }),
      "head.weight: expected members 4 .. 5, found 5 members");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { reader.integer("best"); }),
                  "expected an integer 'best'");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { CheckpointReader(folder / "none.h5"); }),
                  "none.h5: no such checkpoint");
  h5_create(folder / "other.h5");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { CheckpointReader(folder / "other.h5"); }),
                  "not a checkpoint");
}

TEST_F(CheckpointTest, AFailedWriteKeepsThePrevious) {
  write(1);
  for (const rlim_t limit : {0, 100, 3000}) {
    FileSizeLimit full(limit);
    EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { write(2); }), "File too large");
  }
  EXPECT_EQ(CheckpointReader(path).integer("epoch"), 1);
  EXPECT_FALSE(std::filesystem::exists(temporary_name(path)));
  write(3);
  EXPECT_EQ(CheckpointReader(path).integer("epoch"), 3);
}

TEST_F(CheckpointTest, SlabsHaveToCoverTheMembers) {
  const auto commit = [&](int64_t first, int64_t count) {
    return error_of(ErrorKind::kInternal, [&] {
      CheckpointWriter writer(*self, path, "", "", {});
      writer.add("members/w", {5, 3, 2}, first, weight.narrow(0, 0, count));
      writer.commit();
    });
  };
  EXPECT_CONTAINS(commit(0, 4), "without gap or overlap");
  EXPECT_CONTAINS(commit(1, 4), "without gap or overlap");
  EXPECT_FALSE(std::filesystem::exists(path));
}
