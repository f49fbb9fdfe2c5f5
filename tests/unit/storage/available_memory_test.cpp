#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "fake_root.hpp"
#include "storage/node_memory.hpp"

using namespace dissent;
using dissent::testing::FakeRoot;

TEST(AvailableMemory, IsTheSmallerOfTheNodesAndTheGroups) {
  const FakeRoot root;
  EXPECT_EQ(available_memory_bytes(root.path), std::numeric_limits<int64_t>::max());
  root.write("/proc/meminfo",
             "MemTotal:       9000 kB\nMemFree:        1 kB\nMemAvailable:   5000 kB\n");
  EXPECT_EQ(available_memory_bytes(root.path), 5000 * 1024);
  root.write("/proc/self/cgroup", "0::/job\n");
  root.write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  root.write("/sys/fs/cgroup/job/memory.max", "4096000\n");
  root.write("/sys/fs/cgroup/job/memory.current", "1096000\n");
  EXPECT_EQ(available_memory_bytes(root.path), 3000000);
  root.write("/sys/fs/cgroup/job/memory.max", "40960000\n");
  EXPECT_EQ(available_memory_bytes(root.path), 5000 * 1024);
}

TEST(AvailableMemory, OfThisMachine) {
  EXPECT_GT(available_memory_bytes(), 1 << 20);
  EXPECT_LT(available_memory_bytes(), int64_t{1} << 50);
}
