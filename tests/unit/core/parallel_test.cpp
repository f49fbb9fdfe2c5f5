#include "core/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

using namespace dissent;

TEST(Parallel, EveryTaskRunsOnceAtAnyThreadCount) {
  for (const int count : {1, 2, 5}) {
    set_threads(count);
    std::vector<std::atomic<int>> hits(37);
    parallel_tasks(37, [&](int64_t i) { hits[i]++; });
    for (auto& hit : hits) EXPECT_EQ(hit.load(), 1);
  }
  set_threads(1);
}

TEST(Parallel, FirstErrorArrivesAfterAllTasks) {
  set_threads(2);
  std::atomic<int> ran = 0;
  EXPECT_THROW(parallel_tasks(8,
                              [&](int64_t i) {
                                ++ran;
                                if (i == 3) throw std::runtime_error("x");
                              }),
               std::runtime_error);
  EXPECT_EQ(ran.load(), 8);
  EXPECT_FALSE(in_parallel_task());
  set_threads(1);
}
