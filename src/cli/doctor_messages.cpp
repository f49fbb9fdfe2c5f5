#include <cstdlib>
#include <cstring>
#include <numeric>
#include <set>
#include <thread>

#include "cli/doctor.hpp"
#include "comm/mpi_info.hpp"
#include "core/timing.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"

namespace dissent::cli {
namespace {

constexpr const char* kMessageAdvice =
    "the network or MPI's choice of it is broken: try OMPI_MCA_btl=self,vader,tcp, and the MPI of "
    "the site";
constexpr double kSlowMicroseconds = 1000;
constexpr double kGiveUp_s = 0.3;

void expect_sum(Communicator& world) {
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

// Rank r gives r + 1 values r.
void expect_gathered(Communicator& world) {
  std::vector<int64_t> counts(world.size());
  std::iota(counts.begin(), counts.end(), 1);
  const auto gathered =
      world.all_gather(at::full({world.rank() + 1}, world.rank(), at::kLong), counts);
  const auto wanted = at::arange(world.size()).repeat_interleave(at::tensor(counts, at::kLong));
  DISSENT_CHECK(at::equal(gathered, wanted), kCheck,
                "all_gather gave other values than the ranks gave it");
}

void expect_text(Communicator& world) {
  const int last = world.size() - 1;
  const std::string text =
      broadcast_text(world, world.rank() == last ? "from the last rank" : "", last);
  DISSENT_CHECK(text == "from the last rank", kCheck,
                "broadcast gave '{}', the last rank gave 'from the last rank'", text);
}

// Bytes that this rank writes into its part of the window, and that others expect there.
char pattern(int rank, int64_t at) { return static_cast<char>((rank * 37 + at * 11 + 5) % 251); }

// Every rank writes its part and reads those of the others.
void share_window(Communicator& node, Steps& steps) {
  constexpr int64_t bytes = 1 << 16;
  NodeMemory memory;
  steps.run([&] { memory.allocate(node, bytes * node.size(), "a trial window"); });
  if (steps.failed()) return;
  for (int64_t i = 0; i < bytes; ++i)
    memory.data()[node.rank() * bytes + i] = pattern(node.rank(), i);
  memory.publish();
  steps.run([&] {
    for (int rank = 0; rank < node.size(); ++rank)
      for (int64_t i = 0; i < bytes; ++i)
        DISSENT_CHECK(
            memory.data()[rank * bytes + i] == pattern(rank, i), kCheck,
            "byte {} of rank {} of the node is not what that rank wrote into the shared window", i,
            rank);
  });
  memory.free();
}

}  // namespace

Finding check_launcher(Communicator& world) {
  if (world.backend() == Backend::kSelf)
    return ok(fmt::format("1 rank on 1 host ({}); no launcher started it, so MPI is not started",
                          host_name()));
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
    return ok(fmt::format("all_reduce, all_gather and broadcast over {} give what they should",
                          count_text(world.size(), "rank")));
  });
}

Finding check_speed(Communicator& world) {
  if (world.size() == 1)
    return skipped("one rank sends no messages", "nothing; under mpirun or srun it is measured");
  constexpr int rounds = 200, large_rounds = 8;
  auto number = at::zeros({1}, at::kDouble);
  for (int i = 0; i < 20; ++i) world.all_reduce(number, ReduceOp::kSum);
  world.barrier();
  auto start = Clock::now();
  int done = 0;
  while (done < rounds) world.all_reduce(number, ReduceOp::kSum), ++done;
  const double latency_us = seconds_since(start) / done * 1e6;
  const int64_t bytes = std::min<int64_t>(4 << 20, (64 << 20) / world.size());
  const std::vector<int64_t> counts(world.size(), bytes / 4);
  const auto values = at::zeros({bytes / 4}, at::kFloat);
  world.all_gather(values, counts);
  world.barrier();
  start = Clock::now();
  for (int i = 0; i < large_rounds; ++i) world.all_gather(values, counts);
  const double rate =
      static_cast<double>(bytes) * (world.size() - 1) * large_rounds / seconds_since(start) / 1e9;
  if (world.rank() != 0) return ok("");
  const std::string text = fmt::format(
      "all_reduce of 8 B takes {:.1f} us, all_gather of {} a rank runs at {:.2f} GB/s a rank",
      latency_us, byte_text(bytes), rate);
  if (latency_us > kSlowMicroseconds)
    return warning(text,
                   "a message should take some 1 to 50 us: look for more threads than cores, or "
                   "for a slow network chosen by MPI");
  return ok(text);
}

Finding check_timeout(Communicator& world) {
  if (world.size() == 1)
    return skipped("one rank waits for nobody", "nothing; under mpirun or srun it is tried");
  // Kept until MPI has ended: the request that rank 0 gives up belongs to it.
  static std::unique_ptr<Communicator> group;
  group = world.split(0, world.rank());
  auto waited = at::full({1}, -1.0, at::kDouble);
  if (world.rank() == 0) {
    auto& settings = world.wait_settings();
    const double timeout_s = std::exchange(settings.timeout_s, kGiveUp_s);
    const auto start = Clock::now();
    try {
      group->barrier();
    } catch (const Error&) {
      waited.fill_(seconds_since(start));
    }
    settings.timeout_s = timeout_s;
  }
  world.broadcast(waited, 0);
  if (world.rank() != 0) group->barrier();
  const auto seconds = waited.item<double>();
  if (world.rank() != 0) return ok("");
  constexpr const char* advice =
      "the clock of this machine or MPI's non-blocking messages do not do what they should: report "
      "it with this output";
  if (seconds < 0) return failed("a barrier that the other ranks had not entered ended", advice);
  if (seconds > kGiveUp_s + 5)
    return failed(
        fmt::format("rank 0 gave up after {:.1f} s, it was told {} s", seconds, kGiveUp_s), advice);
  return ok(fmt::format("a rank that waits in vain gives up: after {:.2f} s, told {} s", seconds,
                        kGiveUp_s));
}

Finding check_shared_memory(Communicator& world) {
  constexpr const char* advice =
      "more room in /dev/shm: a container's --shm-size or --ipc=host, fewer jobs on the node, or "
      "data.residency = \"stream\"";
  auto node = world.split_by_node();
  Steps steps(*node);
  struct Room {
    int64_t size = 0, free = 0;
  } room;
  steps.run([&] {
    room = {static_cast<int64_t>(std::filesystem::space("/dev/shm").capacity),
            free_bytes("/dev/shm")};
  });
  if (node->size() > 1 && !steps.failed()) share_window(*node, steps);
  return steps.finding(advice, [&] {
    if (node->rank() != 0) return ok("");
    const std::string text = fmt::format(
        "/dev/shm has {}, {} free; {}", byte_text(room.size), byte_text(room.free),
        node->size() > 1 ? fmt::format("a window written by {} ranks is read by all", node->size())
                         : "one rank on a node needs no window");
    return room.free < 256 << 20 ? warning(text, advice) : ok(text);
  });
}

}  // namespace dissent::cli
