// The limits of a process, read from trees that look like /proc and /sys of other machines.
#include "runtime/train/Limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t MiB = 1 << 20;

class LimitsTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/limits-XXXXXX";
    root = mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(root); }

  void put(const std::string &path, const std::string &text) {
    fs::create_directories(fs::path(root + path).parent_path());
    std::ofstream(root + path) << text;
  }
  /// A mount as mountinfo has it, among others that are no cgroups.
  void mount(const std::string &cgroupRoot, const std::string &at, const std::string &type,
             const std::string &options) {
    mounts += "30 23 0:26 " + cgroupRoot + " " + at + " rw,nosuid shared:9 - " + type + " cgroup " +
              options + "\n";
    put("/proc/self/mountinfo", "23 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n" + mounts);
    fs::create_directories(root + at);
  }
  void groups(const std::string &lines) { put("/proc/self/cgroup", lines); }
  Limits read() { return readLimits(root); }

  std::string root, mounts;
};

TEST_F(LimitsTest, NothingKnownIsNoLimit) {
  const Limits limits = read();
  EXPECT_FALSE(limits.cores);
  EXPECT_FALSE(limits.memory);
  EXPECT_FALSE(limits.addressSpace);
  EXPECT_FALSE(limits.data);
  EXPECT_EQ(threadsWithin(3, limits), 3);
}

// Docker and systemd of today: version 2, the group's own files.
TEST_F(LimitsTest, Version2) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");
  groups("0::/system.slice/job.service\n");
  put("/sys/fs/cgroup/system.slice/job.service/cpu.max", "150000 100000\n");
  put("/sys/fs/cgroup/system.slice/job.service/memory.max", "536870912\n");
  put("/sys/fs/cgroup/system.slice/job.service/memory.high", "max\n");
  const Limits limits = read();
  ASSERT_TRUE(limits.cores && limits.memory);
  EXPECT_DOUBLE_EQ(limits.cores->value, 1.5);
  EXPECT_EQ(limits.cores->by, "/sys/fs/cgroup/system.slice/job.service/cpu.max");
  EXPECT_EQ(limits.memory->value, 512 * MiB);
  EXPECT_EQ(limits.memory->by, "/sys/fs/cgroup/system.slice/job.service/memory.max");
  EXPECT_EQ(threadsWithin(8, limits), 2); // a fraction is rounded up
  EXPECT_EQ(threadsWithin(1, limits), 1);
}

TEST_F(LimitsTest, QuotasOfWholeCoresAreNotRoundedUp) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  groups("0::/\n");
  for (auto [text, threads] : {std::pair("100000 100000", 1),
                               {"300000 100000", 3},
                               {"50000 100000", 1},
                               {"1000 100000", 1},
                               {"100001 100000", 2},
                               {"990000 330000", 3},
                               {"max 100000", 16},
                               {"9000000 100000", 16},
                               {"0 100000", 16},
                               {"nonsense", 16},
                               {"", 16}}) {
    put("/sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(threadsWithin(16, read()), threads) << text;
  }
}

TEST_F(LimitsTest, TheLowestOfAllGroupsAboveCounts) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  groups("0::/a/b/c\n");
  put("/sys/fs/cgroup/a/memory.max", "104857600\n");
  put("/sys/fs/cgroup/a/b/memory.max", "max\n");
  put("/sys/fs/cgroup/a/b/c/memory.max", "209715200\n");
  put("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
  put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  const Limits limits = read();
  ASSERT_TRUE(limits.cores && limits.memory);
  EXPECT_EQ(limits.memory->value, 100 * MiB);
  EXPECT_EQ(limits.memory->by, "/sys/fs/cgroup/a/memory.max");
  EXPECT_EQ(limits.cores->value, 2.0);
}

TEST_F(LimitsTest, MemoryHighCounts) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  groups("0::/a\n");
  put("/sys/fs/cgroup/a/memory.max", "209715200\n");
  put("/sys/fs/cgroup/a/memory.high", "104857600\n");
  EXPECT_EQ(read().memory->by, "/sys/fs/cgroup/a/memory.high");
}

// A container with a cgroup namespace: "/" is its own group.
TEST_F(LimitsTest, DockerWithANamespace) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "ro");
  groups("0::/\n");
  put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  put("/sys/fs/cgroup/memory.max", "268435456\n");
  const Limits limits = read();
  EXPECT_EQ(threadsWithin(8, limits), 1);
  EXPECT_EQ(limits.memory->value, 256 * MiB);
  EXPECT_EQ(limits.memory->by, "/sys/fs/cgroup/memory.max");
}

// A path of the host, which is not there in the container.
TEST_F(LimitsTest, APathThatIsNotThere) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "ro");
  for (const char *path : {"0::/docker/8a5c\n", "0::/../../docker/8a5c\n", "0::/..\n", ""}) {
    groups(path);
    put("/sys/fs/cgroup/memory.max", "268435456\n");
    ASSERT_TRUE(read().memory) << path;
    EXPECT_EQ(read().memory->by, "/sys/fs/cgroup/memory.max") << path;
  }
}

// Version 1: a hierarchy for each controller; a number near 2^63 and -1 are no limits.
TEST_F(LimitsTest, Version1) {
  mount("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct");
  mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  mount("/", "/sys/fs/cgroup/pids", "cgroup", "rw,pids");
  groups("9:pids:/elsewhere\n4:cpu,cpuacct:/slurm/job_1\n3:memory:/slurm/job_2\n");
  put("/sys/fs/cgroup/cpu,cpuacct/slurm/job_1/cpu.cfs_quota_us", "100000\n");
  put("/sys/fs/cgroup/cpu,cpuacct/slurm/job_1/cpu.cfs_period_us", "40000\n");
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  put("/sys/fs/cgroup/memory/slurm/job_2/memory.limit_in_bytes", "9223372036854771712\n");
  put("/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "1073741824\n");
  const Limits limits = read();
  ASSERT_TRUE(limits.cores && limits.memory);
  EXPECT_DOUBLE_EQ(limits.cores->value, 2.5);
  EXPECT_EQ(threadsWithin(8, limits), 3);
  EXPECT_EQ(limits.memory->value, 1024 * MiB);
  EXPECT_EQ(limits.memory->by, "/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes");
}

// Docker on version 1 without a namespace: what is mounted is the container's own group, and
// /proc/self/cgroup has the host's path.
TEST_F(LimitsTest, DockerOnVersion1) {
  mount("/docker/8a5c", "/sys/fs/cgroup/memory", "cgroup", "ro,memory");
  mount("/docker/8a5c", "/sys/fs/cgroup/cpu", "cgroup", "ro,cpu,cpuacct");
  groups("5:memory:/docker/8a5c\n4:cpu,cpuacct:/docker/8a5c/inner\n");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n");
  put("/sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "100000\n");
  put("/sys/fs/cgroup/cpu/inner/cpu.cfs_period_us", "100000\n");
  const Limits limits = read();
  ASSERT_TRUE(limits.cores && limits.memory);
  EXPECT_EQ(limits.memory->value, 128 * MiB);
  EXPECT_EQ(threadsWithin(8, limits), 1);
  // A root that only begins like the group's path is another group.
  groups("5:memory:/docker/8a5cff\n");
  EXPECT_EQ(read().memory->by, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

// Both at once: systemd's own tree in version 2 without controllers, the rest in version 1.
TEST_F(LimitsTest, Hybrid) {
  mount("/", "/sys/fs/cgroup/unified", "cgroup2", "rw");
  mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  mount("/", "/sys/fs/cgroup/cpu", "cgroup", "rw,cpu");
  groups("4:memory:/job\n1:cpu:/\n0::/\n");
  put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "67108864\n");
  put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(read().memory->value, 64 * MiB);
  EXPECT_EQ(threadsWithin(4, read()), 2);
  put("/sys/fs/cgroup/unified/memory.max", "33554432\n"); // the memory in version 2 instead
  EXPECT_EQ(read().memory->value, 32 * MiB);
}

TEST_F(LimitsTest, PathsWithBlanks) {
  mount("/", "/sys/fs/my\\040groups", "cgroup2", "rw");
  groups("0::/a:b c\n");
  put("/sys/fs/my groups/a:b c/memory.max", "33554432\n");
  EXPECT_EQ(read().memory->value, 32 * MiB);
}

TEST_F(LimitsTest, Ulimits) {
  put("/proc/self/limits",
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max cpu time              unlimited            unlimited            seconds   \n"
      "Max data size             1073741824           unlimited            bytes     \n"
      "Max stack size            8388608              unlimited            bytes     \n"
      "Max address space         2147483648           4294967296           bytes     \n");
  Limits limits = read();
  ASSERT_TRUE(limits.addressSpace && limits.data);
  EXPECT_EQ(limits.addressSpace->value, 2048 * MiB);
  EXPECT_EQ(limits.addressSpace->by, "ulimit -v");
  EXPECT_EQ(limits.data->value, 1024 * MiB);
  put("/proc/self/limits",
      "Max data size             unlimited            unlimited            bytes     \n");
  limits = read();
  EXPECT_FALSE(limits.addressSpace);
  EXPECT_FALSE(limits.data);
}

TEST_F(LimitsTest, TheMostIsTheLeastOfAll) {
  put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree:          100 kB\n"
                       "MemAvailable:    4194304 kB\n");
  MachineMemory memory = machineMemory(root);
  EXPECT_EQ(memory.total, 8192 * MiB);
  EXPECT_EQ(memory.available, 4096 * MiB);
  EXPECT_EQ(memory.most(), 8192 * MiB);
  EXPECT_EQ(memory.mostBy().by, "the machine");
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  groups("0::/\n");
  put("/sys/fs/cgroup/memory.max", "1073741824\n");
  EXPECT_EQ(machineMemory(root).most(), 1024 * MiB);
  put("/proc/self/limits", "Max address space  536870912  unlimited  bytes\n");
  EXPECT_EQ(machineMemory(root).mostBy().by, "ulimit -v");
  put("/sys/fs/cgroup/memory.max", "99999999999999\n"); // more than there is
  put("/proc/self/limits", "");
  EXPECT_EQ(machineMemory(root).most(), 8192 * MiB);
}

TEST(Limits, OfThisMachine) {
  EXPECT_GE(availableThreads(), 1);
  EXPECT_GT(machineMemory().most(), 0u);
}

} // namespace
} // namespace lorac::train
