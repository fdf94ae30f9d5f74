#pragma once

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string_view>
#include <vector>

namespace fovea::bench {

// Seconds of the clock on the wall; or, with FOVEA_BENCH_CLOCK=cpu, of processor time that this
// process has had: for machines that others use at the same time. All threads count, those that
// wait for work too, so it wants FOVEA_THREADS=1.
inline double seconds() {
  static const char* wanted = std::getenv("FOVEA_BENCH_CLOCK");
  static const bool cpu = wanted && std::string_view(wanted) == "cpu";
  timespec now{};
  clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The median of at least nine runs and 300 ms, after one that warms up; or, on a machine that
// others use at the same time, the quantile that FOVEA_BENCH_QUANTILE names, such as 0.05.
inline double median_seconds(const std::function<void()>& work) {
  static const char* quantile = std::getenv("FOVEA_BENCH_QUANTILE");
  const double share = quantile ? std::atof(quantile) : 0.5;
  work();
  std::vector<double> times;
  const double begin = seconds();
  while (times.size() < 9 || seconds() - begin < 0.3) {
    const double start = seconds();
    work();
    times.push_back(seconds() - start);
  }
  const auto middle = times.begin() + static_cast<int64_t>(double(times.size()) * share);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace fovea::bench
