// How much of a mapping this process has in its page tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace fovea::testing {

// Bytes of the mapping that holds `address`, by /proc/self/smaps.
inline size_t resident_bytes(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char dash = 0;
    std::istringstream words(line);
    if (words >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.starts_with("Rss:")) {
      return std::stoul(line.substr(4)) * 1024;
    }
  }
  return 0;
}

}  // namespace fovea::testing
