#include <filesystem>

#include "storage/checkpoint.hpp"

#include "mpi_main.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

// Members of each rank, for 1, 2 and 3 ranks: uneven, and with a rank that has none.
const std::vector<std::vector<std::vector<int64_t>>> kSplits = {
    {{5}}, {{3, 2}, {0, 5}, {5, 0}}, {{2, 2, 1}, {4, 0, 1}, {0, 0, 5}}};

struct MpiCheckpoint : ::testing::Test {
  Communicator& comm = world();
  TempFolder folder{comm};
  std::string path = folder / "checkpoint.h5";
  at::Tensor weight = at::arange(5 * 70 * 30).reshape({5, 70, 30}).to(at::kFloat).sin();
  at::Tensor shared = at::arange(12).reshape({3, 4}).to(at::kDouble);
  void TearDown() override { comm.barrier(); }

  static void write(Communicator& group, const std::string& file, const at::Tensor& values,
                    const at::Tensor& whole, const std::vector<int64_t>& split, int64_t epoch) {
    int64_t first = 0;
    for (int rank = 0; rank < group.rank(); ++rank) first += split[rank];
    const int64_t count = split[group.rank()];
    CheckpointWriter writer(group, file, "config\n", "hash", {{"epoch", epoch}});
    writer.add("members/w", values.sizes().vec(), first, values.narrow(0, first, count));
    writer.add("optimizer/exp_avg/w", values.sizes().vec(), first,
               values.narrow(0, first, count).to(at::kBFloat16));
    writer.add("optimizer/steps", {5}, first, at::arange(first, first + count, at::kLong));
    writer.add("discriminators/w", whole.sizes().vec(), 0,
               group.rank() == 0 ? whole : whole.narrow(0, 0, 0));
    writer.commit();
  }
};

}  // namespace

TEST_F(MpiCheckpoint, IndependentOfTheLayout) {
  if (comm.rank() == 0)
    write(*make_self_communicator(), folder / "alone.h5", weight, shared, {5}, 4);
  comm.barrier();
  const auto alone = read_text(folder / "alone.h5");
  for (const auto& split : kSplits[comm.size() - 1]) {
    write(comm, path, weight, shared, split, 4);
    comm.barrier();
    EXPECT_TRUE(read_text(path) == alone);
    const CheckpointReader reader(path);
    EXPECT_EQ(reader.integer("epoch"), 4);
    EXPECT_TRUE(at::equal(reader.read_slab("members/w", 0, 5), weight));
    EXPECT_TRUE(at::equal(reader.read_slab("members/w", 1, 3), weight.narrow(0, 1, 3)));
    EXPECT_TRUE(at::equal(reader.read_slab("optimizer/exp_avg/w", 0, 5), weight.to(at::kBFloat16)));
    EXPECT_TRUE(at::equal(reader.read_slab("optimizer/steps", 0, 5), at::arange(5, at::kLong)));
    EXPECT_TRUE(at::equal(reader.read_slab("discriminators/w", 0, 3), shared));
    comm.barrier();
  }
}

TEST_F(MpiCheckpoint, FailingWriteKeepsThePrevious) {
  const auto split = kSplits[comm.size() - 1].back();
  write(comm, path, weight, shared, split, 1);
  comm.barrier();
  {
    FileSizeLimit full(20000);
    const auto message =
        error_of(ErrorKind::kData, [&] { write(comm, path, weight, shared, split, 2); });
    EXPECT_CONTAINS(message, "checkpoint.h5.tmp: ");
    EXPECT_EQ(all_gather_text(comm, message).front(), message);
  }
  EXPECT_EQ(CheckpointReader(path).integer("epoch"), 1);
  EXPECT_FALSE(std::filesystem::exists(temporary_name(path)));
  comm.barrier();
  write(comm, path, weight, shared, split, 3);
  comm.barrier();
  EXPECT_EQ(CheckpointReader(path).integer("epoch"), 3);
}

TEST_F(MpiCheckpoint, RanksThatDoNotFitTogether) {
  if (comm.size() == 1) return;
  const bool last = comm.rank() == comm.size() - 1;
  const auto commit = [&](const std::string& name, int64_t first, int64_t count) {
    return error_of(ErrorKind::kInternal, [&] {
      CheckpointWriter writer(comm, path, "", "", {});
      writer.add(name, {5, 70, 30}, first, weight.narrow(0, 0, count));
      writer.commit();
    });
  };
  EXPECT_CONTAINS(commit("members/w", 0,
                         last               ? 5
                         : comm.rank() == 0 ? 1
                                            : 0),
                  "without gap or overlap");
  EXPECT_CONTAINS(commit(last ? "members/b" : "members/w", 0, comm.rank() == 0 ? 5 : 0),
                  "expected the same slabs on every rank");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(MpiCheckpoint, MissingFolder) {
  EXPECT_CONTAINS(error_of(ErrorKind::kData,
                           [&] {
                             write(comm, folder / "no/such/checkpoint.h5", weight, shared,
                                   kSplits[comm.size() - 1].front(), 1);
                           }),
                  "No such file or directory");
}
