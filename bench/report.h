#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "base/json.h"

namespace fovea::bench {

// Prints a JSON line for each figure and a table of them all at its end.
class Report {
 public:
  Report() = default;
  Report(const Report&) = delete;
  ~Report() {
    std::printf("\n%-44s %10s %-5s %8s\n", "figure", "value", "unit", "of limit");
    for (const auto& row : rows_) std::printf("%s\n", row.c_str());
  }

  // `share_of_limit` is negative where there is no limit; `line` holds what else is told.
  void add(const std::string& name, double value, const char* unit, double share_of_limit = -1,
           JsonObject line = {}) {
    line.set("name", name).set("value", value).set("unit", unit);
    if (share_of_limit >= 0) line.set("share_of_limit", share_of_limit);
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
    const auto share =
        share_of_limit < 0 ? std::string() : fmt::format("{:.0f}%", 100 * share_of_limit);
    rows_.push_back(fmt::format("{:44} {:10.4g} {:5} {:>8}", name, value, unit, share));
  }

 private:
  std::vector<std::string> rows_;
};

}  // namespace fovea::bench
