#include "base/cores.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace fovea {
namespace {

namespace fs = std::filesystem;

// Empty where there is no such file: old kernels, sandboxes, other systems.
std::string first_line(const fs::path& path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

int physical_cores(const std::vector<int>& processors, const fs::path& root) {
  std::set<std::string> cores;
  for (const int processor : processors) {
    const std::string name = "cpu" + std::to_string(processor);
    const auto siblings =
        first_line(root / "sys/devices/system/cpu" / name / "topology/thread_siblings_list");
    cores.insert(siblings.empty() ? name : siblings);
  }
  return static_cast<int>(cores.size());
}

// "50000 100000" (cgroup 2) or the two numbers of version 1; "max" and -1 are no quota.
double quota_of(const std::string& text) {
  std::istringstream in(text);
  double quota = 0;
  double period = 0;
  if (in >> quota >> period && quota > 0 && period > 0) return quota / period;
  return std::numeric_limits<double>::infinity();
}

// A group's limit holds for all below it, so the smallest on the way up counts.
double quota_up(const fs::path& mount, fs::path group, bool version_2) {
  double quota = std::numeric_limits<double>::infinity();
  for (group = group.relative_path();; group = group.parent_path()) {
    const fs::path folder = mount / group;
    const auto text = version_2 ? first_line(folder / "cpu.max")
                                : first_line(folder / "cpu.cfs_quota_us") + " " +
                                      first_line(folder / "cpu.cfs_period_us");
    quota = std::min(quota, quota_of(text));
    if (group.empty()) return quota;
  }
}

bool has_cpu_controller(const std::string& controllers) {
  return ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

// Lines of /proc/self/cgroup are number:controllers:group; version 2 has no controllers.
double cgroup_quota(const fs::path& root) {
  double quota = std::numeric_limits<double>::infinity();
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto one = line.find(':');
    const auto two = line.find(':', one + 1);
    if (one == std::string::npos || two == std::string::npos) continue;
    const std::string controllers = line.substr(one + 1, two - one - 1);
    const fs::path mount = root / "sys/fs/cgroup";
    if (controllers.empty()) {
      quota = std::min(quota, quota_up(mount, line.substr(two + 1), true));
    } else if (has_cpu_controller(controllers)) {
      quota = std::min(quota, quota_up(mount / "cpu", line.substr(two + 1), false));
    }
  }
  return quota;
}

std::vector<int> allowed_processors() {
  std::vector<int> processors;
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) processors.push_back(i);
    }
    return processors;
  }
  for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i) {
    processors.push_back(static_cast<int>(i));
  }
  return processors;
}

}  // namespace

int usable_cores(const std::vector<int>& processors, const fs::path& root) {
  const int cores = std::max(1, physical_cores(processors, root));
  const double quota = cgroup_quota(root);
  return quota < cores ? std::max(1, static_cast<int>(quota)) : cores;
}

int usable_cores() { return usable_cores(allowed_processors(), "/"); }

}  // namespace fovea
