// NCCL against MPI: the same operation on the same values, on the device and on the host.
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "comm/nccl.hpp"

#include <gtest/gtest.h>

#include "gpu/gpu_main.hpp"

using namespace dissent;
using dissent::testing::device;
using dissent::testing::world;

namespace {

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kDouble, at::kInt, at::kLong, at::kByte};

at::Device gpu() { return {at::kCUDA, static_cast<c10::DeviceIndex>(device())}; }

// Values that differ by rank and element; sums over few ranks are exact in every type.
at::Tensor values_of(int rank, int64_t count, at::ScalarType type) {
  return ((at::arange(count) * 7 + rank * 5) % 31).to(type);
}

bool same(const at::Tensor& on_device, const at::Tensor& on_host) {
  return at::equal(on_device.cpu(), on_host);
}

}  // namespace

TEST(Nccl, AllReduceAgreesWithMpi) {
  auto nccl = make_nccl_communicator(world(), device());
  for (const auto type : kTypes) {
    for (const auto op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
      auto host = values_of(world().rank(), 1000, type);
      auto on_device = host.to(gpu());
      world().all_reduce(host, op);
      nccl->all_reduce(on_device, op);
      EXPECT_TRUE(same(on_device, host))
          << at::toString(type) << " operation " << static_cast<int>(op);
    }
  }
}

TEST(Nccl, SumsOfFloatsAgreeToARoundingEach) {
  auto nccl = make_nccl_communicator(world(), device());
  auto host = at::sin(at::arange(4096, at::kFloat) * (world().rank() + 1));
  auto on_device = host.to(gpu());
  world().all_reduce(host, ReduceOp::kSum);
  nccl->all_reduce(on_device, ReduceOp::kSum);
  const double bound = std::numeric_limits<float>::epsilon() * world().size() * world().size();
  EXPECT_LE((on_device.cpu() - host).abs().max().item<double>(), bound);
}

TEST(Nccl, GathersUnevenPiecesInRankOrderWithEmptyOnes) {
  auto nccl = make_nccl_communicator(world(), device());
  for (const bool first_is_empty : {false, true}) {
    std::vector<int64_t> counts;
    for (int rank = 0; rank < world().size(); ++rank)
      counts.push_back((rank == 0) == first_is_empty ? 0 : 300 * rank + 17);
    for (const auto type : kTypes) {
      const auto local = values_of(world().rank(), counts[world().rank()], type);
      EXPECT_TRUE(
          same(nccl->all_gather(local.to(gpu()), counts), world().all_gather(local, counts)))
          << at::toString(type);
    }
  }
}

TEST(Nccl, BroadcastAgreesWithMpi) {
  auto nccl = make_nccl_communicator(world(), device());
  for (int root = 0; root < world().size(); ++root) {
    auto host = values_of(world().rank(), 513, at::kDouble);
    auto on_device = host.to(gpu());
    world().broadcast(host, root);
    nccl->broadcast(on_device, root);
    EXPECT_TRUE(same(on_device, host)) << "root " << root;
  }
}

TEST(Nccl, SplitGroupsOrderByKey) {
  auto nccl = make_nccl_communicator(world(), device());
  nccl->barrier();
  auto group = nccl->split(0, -world().rank());
  EXPECT_EQ(group->rank(), world().size() - 1 - world().rank());
  auto ranks = group
                   ->all_gather(at::full({1}, world().rank(), at::kLong).to(gpu()),
                                std::vector<int64_t>(world().size(), 1))
                   .cpu();
  for (int i = 0; i < world().size(); ++i)
    EXPECT_EQ(ranks[i].item<int64_t>(), world().size() - 1 - i);
}

TEST(Nccl, RefusesHostTensors) {
  auto nccl = make_nccl_communicator(world(), device());
  auto host = at::ones({3});
  EXPECT_THROW(nccl->all_reduce(host, ReduceOp::kSum), Error);
}

// The last rank does not take part: the others leave with an error that names the operation, and
// the group is of no more use.
TEST(Nccl, TimeoutNamesTheOperation) {
  if (world().size() == 1) return;
  auto nccl = make_nccl_communicator(world(), device());
  auto values = at::ones({8}, at::TensorOptions(gpu()));
  nccl->all_reduce(values, ReduceOp::kSum);  // connections are made
  if (world().rank() != world().size() - 1) {
    const double timeout_s = std::exchange(nccl->wait_settings().timeout_s, 5);
    int64_t signs = 0;
    nccl->wait_settings().while_waiting = [&] { ++signs; };
    for (const char* expected :
         {"all_reduce did not end within 5 s", "expected an open NCCL group"}) {
      try {
        nccl->all_reduce(values, ReduceOp::kSum);
        FAIL() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kComm);
        EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
      }
    }
    EXPECT_GE(signs, 3);  // about one a second
    nccl->wait_settings() = {.timeout_s = timeout_s};
  }
  world().barrier();
}
