#include "base/cores.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_folder.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text << '\n';
}

void write_siblings(const fs::path& root, int processor, const std::string& siblings) {
  write(root / "sys/devices/system/cpu" / ("cpu" + std::to_string(processor)) /
            "topology/thread_siblings_list",
        siblings);
}

TEST(Cores, HyperThreadsCountOnce) {
  const TemporaryFolder root;
  for (int i = 0; i < 4; ++i) {
    write_siblings(root.path(), i, std::to_string(i) + "," + std::to_string(i + 4));
    write_siblings(root.path(), i + 4, std::to_string(i) + "," + std::to_string(i + 4));
  }
  EXPECT_EQ(usable_cores({0, 1, 2, 3, 4, 5, 6, 7}, root.path()), 4);
  EXPECT_EQ(usable_cores({1, 5}, root.path()), 1);
  EXPECT_EQ(usable_cores({0, 5, 6}, root.path()), 3);
}

TEST(Cores, WithoutTopologyEveryProcessorCounts) {
  const TemporaryFolder root;
  EXPECT_EQ(usable_cores({0, 1, 2}, root.path()), 3);
  EXPECT_EQ(usable_cores({}, root.path()), 1);
}

TEST(Cores, TheSmallestQuotaOnTheWayUpHolds) {
  const TemporaryFolder root;
  write(root.path() / "proc/self/cgroup", "0::/outer/inner");
  const fs::path mount = root.path() / "sys/fs/cgroup";
  write(mount / "outer/inner/cpu.max", "max 100000");
  EXPECT_EQ(usable_cores({0, 1, 2, 3}, root.path()), 4);
  write(mount / "outer/cpu.max", "250000 100000");
  EXPECT_EQ(usable_cores({0, 1, 2, 3}, root.path()), 2);
  write(mount / "outer/inner/cpu.max", "50000 100000");
  EXPECT_EQ(usable_cores({0, 1, 2, 3}, root.path()), 1);
}

TEST(Cores, ReadsTheQuotaOfCgroupVersionOne) {
  const TemporaryFolder root;
  write(root.path() / "proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/job");
  const fs::path job = root.path() / "sys/fs/cgroup/cpu/job";
  write(job / "cpu.cfs_period_us", "100000");
  write(job / "cpu.cfs_quota_us", "-1");
  EXPECT_EQ(usable_cores({0, 1, 2, 3}, root.path()), 4);
  write(job / "cpu.cfs_quota_us", "300000");
  EXPECT_EQ(usable_cores({0, 1, 2, 3}, root.path()), 3);
}

}  // namespace
}  // namespace fovea
