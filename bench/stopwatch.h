#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

namespace fovea::bench {

// The median of at least nine runs and 300 ms, after one that warms up.
inline double median_seconds(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (times.size() < 9 || Clock::now() - begin < std::chrono::milliseconds(300)) {
    const auto start = Clock::now();
    work();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const auto middle = times.begin() + static_cast<int64_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace fovea::bench
