#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/mpi_info.hpp"
#include "core/timing.hpp"
#include "doctor/checks.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"

namespace dissent::doctor {
namespace {

constexpr const char* kMessageAdvice =
    "the network, or MPI's choice of a network, does not work: try OMPI_MCA_btl=self,vader,tcp, or "
    "the site's own MPI";
constexpr double kSlowLatency_us = 1000;
constexpr double kTrialTimeout_s = 0.3;

// Sums of 1, 2, ..., n and of their squares, n the number of ranks.
void expect_sum(Communicator& world) {
  // n (n + 1) / 2 and n (n + 1) (2 n + 1) / 6: exact in f64, and both are right only if each rank
  // counts once.
  const int64_t ranks = world.size(), rank = world.rank();
  auto sums = at::tensor(
      {static_cast<double>(rank + 1), static_cast<double>((rank + 1) * (rank + 1))}, at::kDouble);
  world.all_reduce(sums, ReduceOp::kSum);

  const auto expected = at::tensor({static_cast<double>(ranks * (ranks + 1) / 2),
                                    static_cast<double>(ranks * (ranks + 1) * (2 * ranks + 1) / 6)},
                                   at::kDouble);
  DISSENT_CHECK(at::equal(sums, expected), kCheck,
                "all_reduce: expected {2} and {3}, found {0} and {1}", sums[0].item<double>(),
                sums[1].item<double>(), expected[0].item<double>(), expected[1].item<double>());
}

// Rank r contributes r + 1 values r.
void expect_gathered(Communicator& world) {
  // Parts of different lengths show wrong offsets, which equal parts may hide.
  std::vector<int64_t> counts(world.size());
  std::iota(counts.begin(), counts.end(), 1);
  const auto gathered =
      world.all_gather(at::full({world.rank() + 1}, world.rank(), at::kLong), counts);
  const auto expected = at::arange(world.size()).repeat_interleave(at::tensor(counts, at::kLong));
  DISSENT_CHECK(at::equal(gathered, expected), kCheck,
                "all_gather: expected the values of each rank in order, found others");
}

void expect_text(Communicator& world) {
  // From the last rank: a broadcast from rank 0 would also pass if the root were ignored.
  const int last = world.size() - 1;
  const std::string text =
      broadcast_text(world, world.rank() == last ? "from the last rank" : "", last);
  DISSENT_CHECK(text == "from the last rank", kCheck,
                "broadcast: expected 'from the last rank', found '{}'", text);
}

// The byte at position `at` of the part that a rank writes into the window.
char pattern(int rank, int64_t at) { return static_cast<char>((rank * 37 + at * 11 + 5) % 251); }

// Every rank of a node writes its part of a shared window and reads all parts.
void share_window(Communicator& node, Steps& steps) {
  constexpr int64_t bytes = 1 << 16;
  NodeMemory memory;
  steps.run([&] { memory.allocate(node, bytes * node.size(), "a trial window"); });
  if (steps.failed()) return;

  // Each rank has a pattern of its own, so that a part in the wrong place is noticed. publish()
  // makes the parts visible to all ranks.
  for (int64_t i = 0; i < bytes; ++i)
    memory.data()[node.rank() * bytes + i] = pattern(node.rank(), i);
  memory.publish();

  steps.run([&] {
    for (int rank = 0; rank < node.size(); ++rank)
      for (int64_t i = 0; i < bytes; ++i)
        DISSENT_CHECK(
            memory.data()[rank * bytes + i] == pattern(rank, i), kCheck,
            "shared window: byte {} of rank {} of the node differs from what that rank wrote", i,
            rank);
  });
  memory.free();
}

}  // namespace

Finding check_launcher(Communicator& world) {
  if (world.backend() == Backend::kSelf)
    return ok(
        fmt::format("1 rank on 1 host ({}); not started by a launcher, so MPI is not initialised",
                    host_name()));

  // The first four hosts in alphabetical order, and how many there are.
  const auto hosts = all_gather_text(world, host_name());
  const std::set<std::string> names(hosts.begin(), hosts.end());
  if (world.rank() != 0) return ok("");
  return ok(fmt::format(
      "{} on {} ({}{}), thread level {}", count_text(world.size(), "rank"),
      count_text(static_cast<int64_t>(names.size()), "host"),
      fmt::join(names.begin(),
                std::next(names.begin(), std::min<int64_t>(4, static_cast<int64_t>(names.size()))),
                ", "),
      names.size() > 4 ? ", ..." : "", mpi_thread_level()));
}

Finding check_messages(Communicator& world) {
  Steps steps(world);
  steps.run([&] { expect_sum(world); });
  steps.run([&] { expect_gathered(world); });
  steps.run([&] { expect_text(world); });
  return steps.finding(kMessageAdvice, [&] {
    return ok(fmt::format("all_reduce, all_gather and broadcast over {} give the expected results",
                          count_text(world.size(), "rank")));
  });
}

Finding check_speed(Communicator& world) {
  if (world.size() == 1)
    return skipped("one rank sends no messages", "nothing; under mpirun or srun it is measured");
  constexpr int rounds = 200, large_rounds = 8;

  // Latency. The first calls set up connections and are not timed.
  auto number = at::zeros({1}, at::kDouble);
  for (int i = 0; i < 20; ++i) world.all_reduce(number, ReduceOp::kSum);
  world.barrier();
  auto start = Clock::now();
  for (int i = 0; i < rounds; ++i) world.all_reduce(number, ReduceOp::kSum);
  const double latency_us = seconds_since(start) / rounds * 1e6;

  // Bandwidth: each rank sends 4 MiB, or less where all parts together would need over 64 MiB.
  const int64_t bytes = std::min<int64_t>(4 << 20, (64 << 20) / world.size());
  const std::vector<int64_t> counts(world.size(), bytes / 4);
  const auto values = at::zeros({bytes / 4}, at::kFloat);

  // As above, the first call is not timed.
  world.all_gather(values, counts);
  world.barrier();
  start = Clock::now();
  for (int i = 0; i < large_rounds; ++i) world.all_gather(values, counts);
  const double rate =
      static_cast<double>(bytes) * (world.size() - 1) * large_rounds / seconds_since(start) / 1e9;

  if (world.rank() != 0) return ok("");

  const std::string text = fmt::format(
      "all_reduce of 8 B takes {:.1f} us, all_gather of {} per rank runs at {:.2f} GB/s per rank",
      latency_us, byte_text(bytes), rate);
  if (latency_us > kSlowLatency_us)
    return warning(text,
                   "a message should take 1 to 50 us: check for more threads than cores, and for a "
                   "slow network chosen by MPI");
  return ok(text);
}

Finding check_timeout(Communicator& world) {
  if (world.size() == 1)
    return skipped("one rank never waits", "nothing; under mpirun or srun it is tested");

  // The communicator lives until MPI is finalised: the request that rank 0 abandons belongs to it.
  static std::unique_ptr<Communicator> group;
  group = world.split(0, world.rank());

  // Rank 0 alone enters a barrier and has to fail after its timeout; -1: it did not fail.
  auto waited = at::full({1}, -1.0, at::kDouble);
  if (world.rank() == 0) {
    const TimeoutScope trial(world, kTrialTimeout_s);
    const auto start = Clock::now();
    try {
      group->barrier();
    } catch (const Error&) {
      waited.fill_(seconds_since(start));
    }
  }

  // The others enter afterwards, which completes the abandoned request.
  world.broadcast(waited, 0);
  if (world.rank() != 0) group->barrier();
  const auto seconds = waited.item<double>();

  if (world.rank() != 0) return ok("");
  constexpr const char* advice =
      "the clock of this machine or MPI's non-blocking collectives do not work as specified: "
      "report "
      "it with this output";
  if (seconds < 0)
    return failed("a barrier completed although the other ranks had not entered it", advice);
  if (seconds > kTrialTimeout_s + 5)
    return failed(fmt::format("rank 0 timed out after {:.1f} s, with a timeout of {} s", seconds,
                              kTrialTimeout_s),
                  advice);
  return ok(
      fmt::format("a barrier without the other ranks fails after {:.2f} s, with a timeout of {} s",
                  seconds, kTrialTimeout_s));
}

Finding check_shared_memory(Communicator& world) {
  constexpr const char* advice =
      "enlarge /dev/shm (a container's --shm-size or --ipc=host), run fewer jobs on the node, or "
      "set "
      "data.residency = \"stream\"";

  // Agreed on per node, since the ranks of a node share its /dev/shm.
  auto node = world.split_by_node();
  Steps steps(*node);
  int64_t capacity = 0, free = 0;
  steps.run([&] {
    capacity = static_cast<int64_t>(std::filesystem::space("/dev/shm").capacity);
    free = free_bytes("/dev/shm");
  });
  if (node->size() > 1 && !steps.failed()) share_window(*node, steps);

  return steps.finding(advice, [&] {
    if (node->rank() != 0) return ok("");
    const std::string text = fmt::format(
        "/dev/shm has {}, {} free; {}", byte_text(capacity), byte_text(free),
        node->size() > 1 ? fmt::format("a window written by {} ranks is read by all", node->size())
                         : "one rank on a node needs no window");
    return free < 256 << 20 ? warning(text, advice) : ok(text);
  });
}

}  // namespace dissent::doctor
