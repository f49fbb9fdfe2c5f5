// Time and memory of the ranking metrics over scores that are spread over several ranks
// (src/evaluate/values/reduce.hpp): sorting, then AUROC, AUPR, average precision and FPR. Memory is
// that of the rank that used most. The metric values do not depend on the number of ranks.
//   scripts/mpirun 4 bench_ranking --samples 100000000
// docs/performance.md limits the address space with ulimit -v.
#include <dissent/metrics/ranking_values.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include <fmt/format.h>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "evaluate/values/reduce.hpp"
#include "harness.hpp"
#include "memory_use.hpp"

using namespace dissent;

namespace {

// Uniform in [0, 1) from a counter (splitmix64).
double uniform(uint64_t counter) {
  uint64_t x = counter * 0x9e3779b97f4a7c15ULL + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

// This rank's part of `count` scores of one class: a bell shape around a shift. Every fourth score
// lies on a grid of 1 / 1024, so that many are equal.
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

// Between barriers, so that the time is that of the slowest rank.
double milliseconds_of(Communicator& comm, const std::function<void()>& work) {
  comm.barrier();
  return bench::seconds_of([&] {
           work();
           comm.barrier();
         }) *
         1e3;
}

int64_t largest_of(Communicator& comm, int64_t value) {
  const auto all = all_gather_integer(comm, value);
  return *std::max_element(all.begin(), all.end());
}

void time_ranking(Communicator& comm, int64_t samples) {
  const auto mapped = largest_of(comm, testing::status_bytes("VmSize:"));

  std::vector<SortedScores> sorted;
  const double sorting = milliseconds_of(comm, [&] {
    sorted.emplace_back(comm, made_scores(comm, samples / 2, 1, 0.3), "far", "bench");
    sorted.emplace_back(comm, made_scores(comm, samples - samples / 2, 2, 0), "id", "bench");
  });
  metrics::RankingValues figures;
  const double ranking =
      milliseconds_of(comm, [&] { figures = rank_scores(comm, sorted[0], sorted[1]); });

  const auto address_space = largest_of(comm, testing::status_bytes("VmPeak:")),
             resident = largest_of(comm, testing::status_bytes("VmHWM:"));
  if (comm.rank() != 0) return;
  const std::vector<bench::Value> values{{"address_space_before", mapped},
                                         {"address_space", address_space},
                                         {"resident", resident},
                                         bench::exact("auroc", figures.auroc),
                                         bench::exact("aupr", figures.positive.aupr),
                                         bench::exact("fpr95", figures.positive.fpr[0])};
  const bench::Source source{.bench = "ranking", .ranks = comm.size()};
  bench::report(source, fmt::format("ranking: making and sorting, {} scores", samples), sorting,
                values);
  bench::report(source, fmt::format("ranking: AUROC, AUPR, FPR, {} scores", samples), ranking,
                values);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t samples = 1'000'000;
  bench::Options options("bench_ranking",
                         "Time and memory of ranking metrics over scores on several ranks.");
  options.number("samples", samples, "number of scores on all ranks together", 2);
  return bench::run(options, argc, argv, [&] {
    Runtime runtime(argc, argv, 600);
    set_threads(options.threads(1));
    time_ranking(runtime.world(), samples);
  });
}
