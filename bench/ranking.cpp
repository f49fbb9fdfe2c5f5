// Time and memory of the ranking metrics over scores that lie on several ranks
// (src/evaluate/reduce.hpp): sorting, and AUROC, AUPR, average precision and FPR of all. One JSON
// object a line, from rank 0; bytes are of the rank that took most. The values are of any number of
// ranks the same.
//   scripts/mpirun 4 bench_ranking [--samples N]
//       a limit on the address space: ulimit -v, docs/performance.md
#include <dissent/metrics/ranking_values.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "evaluate/values/reduce.hpp"
#include "memory_use.hpp"

using namespace dissent;

namespace {

using Clock = std::chrono::steady_clock;

// Uniform in [0, 1) from a counter (splitmix64).
double uniform(uint64_t counter) {
  uint64_t x = counter * 0x9e3779b97f4a7c15ULL + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

// This rank's part of `count` scores of one class: bell-shaped about a shift; every fourth lies on
// a grid of 1 / 1024, so that many are equal.
at::Tensor made_scores(const Communicator& comm, int64_t count, uint64_t key, double shift) {
  const int64_t first = count * comm.rank() / comm.size(),
                last = count * (comm.rank() + 1) / comm.size();
  auto scores = at::empty({last - first}, at::kDouble);
  for (int64_t i = first; i < last; ++i) {
    const auto counter = (key << 40) + 2 * static_cast<uint64_t>(i);
    const double score = uniform(counter) + uniform(counter + 1) + shift;
    scores.data_ptr<double>()[i - first] =
        i % 4 == 0 ? static_cast<double>(static_cast<int64_t>(score * 1024)) / 1024 : score;
  }
  return scores;
}

double milliseconds_of(Communicator& comm, const std::function<void()>& call) {
  comm.barrier();
  const auto start = Clock::now();
  call();
  comm.barrier();
  return std::chrono::duration<double>(Clock::now() - start).count() * 1e3;
}

int64_t most_of(Communicator& comm, int64_t value) {
  const auto all = all_gather_integer(comm, value);
  return *std::max_element(all.begin(), all.end());
}

void run(Communicator& comm, int64_t samples) {
  const auto mapped = most_of(comm, dissent::testing::status_bytes("VmSize:"));
  std::vector<SortedScores> sorted;
  const double sorting = milliseconds_of(comm, [&] {
    sorted.emplace_back(comm, made_scores(comm, samples / 2, 1, 0.3), "far", "bench");
    sorted.emplace_back(comm, made_scores(comm, samples - samples / 2, 2, 0), "id", "bench");
  });
  metrics::RankingValues figures;
  const double ranking =
      milliseconds_of(comm, [&] { figures = rank_scores(comm, sorted[0], sorted[1]); });
  const auto address_space = most_of(comm, dissent::testing::status_bytes("VmPeak:")),
             resident = most_of(comm, dissent::testing::status_bytes("VmHWM:"));
  if (comm.rank() != 0) return;
  const auto report = [&](const char* what, double ms) {
    std::printf(
        "{\"bench\": \"ranking\", \"peer\": \"dissent\", \"what\": \"%s, %ld scores\", \"ranks\": "
        "%d, \"threads\": 1, \"ms\": %.1f, "
        "\"address_space_before\": %ld, \"address_space\": %ld, \"resident\": %ld, \"auroc\": "
        "%.17g, \"aupr\": %.17g, \"fpr95\": %.17g}\n",
        what, static_cast<long>(samples), comm.size(), ms, static_cast<long>(mapped),
        static_cast<long>(address_space), static_cast<long>(resident), figures.auroc,
        figures.positive.aupr, figures.positive.fpr[0]);
  };
  report("ranking: making and sorting", sorting);
  report("ranking: AUROC, AUPR, FPR", ranking);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t samples = 1'000'000;
  for (int i = 1; i + 1 < argc; ++i)
    if (std::strcmp(argv[i], "--samples") == 0) samples = std::atol(argv[i + 1]);
  Runtime runtime(argc, argv, 600);
  set_threads(1);
  run(runtime.world(), samples);
  return 0;
}
