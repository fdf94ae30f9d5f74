// How many processors this process may keep busy. Any thread.
#pragma once

#include <filesystem>
#include <vector>

namespace fovea {

// Physical cores among the processors that the affinity mask allows, and no more than the CPU
// quota of the process's cgroup, rounded down; at least 1. Two hyper-threads of a core count once,
// because they share the units that our loops keep full.
int usable_cores();

// The same for these processors, with /proc and /sys looked up under `root`.
int usable_cores(const std::vector<int>& processors, const std::filesystem::path& root);

}  // namespace fovea
