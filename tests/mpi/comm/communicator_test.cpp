#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "comm/mpi.hpp"
#include "mpi_main.hpp"

using namespace dissent;
using dissent::testing::world;

TEST(Communicator, AllReduceSumsMinimaMaxima) {
  auto& comm = world();
  for (const auto type : {at::kFloat, at::kDouble, at::kInt, at::kLong}) {
    auto values = at::full({5}, comm.rank() + 1, type);
    comm.all_reduce(values, ReduceOp::kSum);
    EXPECT_EQ(values[4].item<int64_t>(), comm.size() * (comm.size() + 1) / 2);
    values = at::full({2}, comm.rank(), type);
    comm.all_reduce(values, ReduceOp::kMax);
    EXPECT_EQ(values[0].item<int64_t>(), comm.size() - 1);
    values = at::full({2}, comm.rank(), type);
    comm.all_reduce(values, ReduceOp::kMin);
    EXPECT_EQ(values[0].item<int64_t>(), 0);
  }
}

TEST(Communicator, GathersUnevenPiecesInRankOrderWithEmptyOnes) {
  auto& comm = world();
  std::vector<int64_t> counts;
  for (int rank = 0; rank < comm.size(); ++rank) counts.push_back(rank == 1 ? 0 : 2 * rank + 1);
  auto gathered =
      comm.all_gather(at::full({counts[comm.rank()]}, double(comm.rank()), at::kDouble), counts);
  int64_t at = 0;
  for (int rank = 0; rank < comm.size(); ++rank)
    for (int64_t i = 0; i < counts[rank]; ++i) EXPECT_EQ(gathered[at++].item<double>(), rank);
  EXPECT_EQ(at, gathered.numel());
}

TEST(Communicator, TextsTravel) {
  auto& comm = world();
  const int last = comm.size() - 1;
  EXPECT_EQ(broadcast_text(comm, comm.rank() == last ? "from the last" : "", last),
            "from the last");
  const auto texts = all_gather_text(comm, std::string(comm.rank(), 'x'));
  for (int rank = 0; rank < comm.size(); ++rank) EXPECT_EQ(texts[rank], std::string(rank, 'x'));
}

TEST(Communicator, SplitOrdersByKey) {
  auto& comm = world();
  auto group = comm.split(comm.rank() % 2, -comm.rank());
  const int odd = comm.size() / 2;
  EXPECT_EQ(group->size(), comm.rank() % 2 ? odd : comm.size() - odd);
  const auto ranks = all_gather_integer(*group, comm.rank());
  for (size_t i = 1; i < ranks.size(); ++i) EXPECT_GT(ranks[i - 1], ranks[i]);
}

TEST(Communicator, AgreeGivesEveryRankTheErrorOfTheLowest) {
  auto& comm = world();
  const int failing = comm.size() / 2;
  try {
    agree(comm, [&] {
      if (comm.rank() >= failing) DISSENT_FAIL(kData, "shard {} is short", comm.rank());
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_TRUE(error.agreed());
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_NE(std::string(error.what()).find(fmt::format("shard {} is short", failing)),
              std::string::npos);
  }
}

// The last rank does not take part: the others must leave with an error that names the operation,
// not hang.
TEST(Communicator, TimeoutNamesTheOperation) {
  if (world().size() == 1) return;
  MPI_Comm copy;
  ASSERT_EQ(MPI_Comm_dup(MPI_COMM_WORLD, &copy), MPI_SUCCESS);
  auto* comm =
      new MpiCommunicator(copy, false, 0.5);  // leaked: its group has an unfinished operation
  if (comm->rank() != comm->size() - 1) {
    try {
      comm->barrier();
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kComm);
      EXPECT_NE(std::string(error.what()).find("barrier did not end within 0.5 s"),
                std::string::npos);
    }
  }
  world().barrier();
  if (comm->rank() == comm->size() - 1) comm->barrier();
}
