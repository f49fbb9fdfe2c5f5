#include "core/cgroup.hpp"

#include <gtest/gtest.h>

#include "fake_root.hpp"

using namespace dissent;
using dissent::testing::FakeRoot;

namespace {

constexpr int64_t kMiB = 1 << 20;

std::string mib(int64_t count) { return std::to_string(count * kMiB) + "\n"; }

// A job's group below a slice, as systemd and Slurm have it in version 2.
struct Unified : FakeRoot {
  Unified() {
    write("/proc/self/cgroup", "0::/slurm/job_7\n");
    write("/proc/self/mountinfo",
          "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - "
          "cgroup2 cgroup2 rw\n");
  }
  void group(const std::string& name, const std::string& limit, int64_t used, int64_t inactive = 0,
             int64_t active = 0) const {
    const std::string folder = "/sys/fs/cgroup" + name;
    write(folder + "/memory.max", limit);
    write(folder + "/memory.current", mib(used));
    write(folder + "/memory.stat", "anon 1\ninactive_file " + mib(inactive) + "active_file " +
                                       mib(active) + "total_inactive_file 99\n");
  }
};

}  // namespace

TEST(Cgroup, NoFilesNoLimit) {
  const FakeRoot root;
  EXPECT_FALSE(memory_limit(root.path));
  EXPECT_FALSE(cpu_quota(root.path));
}

TEST(Cgroup, UnifiedLimitLeavesWhatIsUnusedAndFilePages) {
  const Unified root;
  root.group("/slurm/job_7", mib(1000), 700, 100, 50);
  const auto limit = memory_limit(root.path);
  ASSERT_TRUE(limit);
  EXPECT_EQ(limit->place, "/sys/fs/cgroup/slurm/job_7");
  EXPECT_EQ(limit->limit_bytes, 1000 * kMiB);
  EXPECT_EQ(limit->left_bytes, 450 * kMiB);
}

TEST(Cgroup, AGroupAboveMayLeaveLess) {
  const Unified root;
  root.group("/slurm/job_7", mib(1000), 100);
  root.group("/slurm", mib(4000), 3800);
  const auto limit = memory_limit(root.path);
  ASSERT_TRUE(limit);
  EXPECT_EQ(limit->place, "/sys/fs/cgroup/slurm");
  EXPECT_EQ(limit->left_bytes, 200 * kMiB);
}

TEST(Cgroup, MaxIsNoLimitAndOverUseLeavesNothing) {
  const Unified root;
  root.group("/slurm/job_7", "max\n", 100);
  EXPECT_FALSE(memory_limit(root.path));
  root.group("/slurm/job_7", mib(100), 130);
  EXPECT_EQ(memory_limit(root.path)->left_bytes, 0);
  root.group("/slurm/job_7", mib(100), 90,
             200);  // counters are read one after the other and need not fit
  EXPECT_EQ(memory_limit(root.path)->left_bytes, 100 * kMiB);
}

TEST(Cgroup, VersionOne) {
  const FakeRoot root;
  root.write("/proc/self/cgroup",
             "9:name=systemd:/\n4:cpu,cpuacct:/uid_1\n3:memory:/uid_1/job_7\n0::/\n");
  root.write("/proc/self/mountinfo",
             "31 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n32 23 "
             "0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "33 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", mib(5000));
  EXPECT_FALSE(memory_limit(root.path));
  const std::string job = "/sys/fs/cgroup/memory/uid_1/job_7";
  root.write(job + "/memory.limit_in_bytes", mib(600));
  root.write(job + "/memory.usage_in_bytes", mib(500));
  root.write(job + "/memory.stat",
             "inactive_file 77\ntotal_inactive_file " + mib(20) + "total_active_file " + mib(3));
  const auto limit = memory_limit(root.path);
  ASSERT_TRUE(limit);
  EXPECT_EQ(limit->place, job);
  EXPECT_EQ(limit->left_bytes, 123 * kMiB);
  root.write("/sys/fs/cgroup/cpu,cpuacct/uid_1/cpu.cfs_quota_us", "250000\n");
  root.write("/sys/fs/cgroup/cpu,cpuacct/uid_1/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota(root.path), 2.5);
}

// A container that sees its own group as the top of the hierarchy, its path still that of the host.
TEST(Cgroup, MountOfTheOwnGroup) {
  const FakeRoot root;
  root.write("/proc/self/cgroup", "3:memory:/docker/abc\n");
  root.write("/proc/self/mountinfo",
             "32 23 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", mib(64));
  root.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", mib(4));
  ASSERT_TRUE(memory_limit(root.path));
  EXPECT_EQ(memory_limit(root.path)->left_bytes, 60 * kMiB);
}

TEST(Cgroup, UnifiedQuota) {
  const Unified root;
  root.write("/sys/fs/cgroup/slurm/job_7/cpu.max", "max 100000\n");
  EXPECT_FALSE(cpu_quota(root.path));
  root.write("/sys/fs/cgroup/slurm/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpu_quota(root.path), 1.5);
}
