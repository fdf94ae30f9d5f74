// How much of a mapping this process has in its page tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace fovea::testing {

// Bytes of the mappings of whose first line in /proc/self/smaps `wanted` holds.
template <class Wanted>
size_t resident_bytes_where(const Wanted& wanted) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  size_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char dash = 0;
    std::istringstream words(line);
    if (words >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = wanted(begin, end, line);
    } else if (inside && line.starts_with("Rss:")) {
      bytes += std::stoul(line.substr(4)) * 1024;
    }
  }
  return bytes;
}

// Of the mapping that holds `address`.
inline size_t resident_bytes(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return resident_bytes_where(
      [at](uintptr_t begin, uintptr_t end, const std::string&) { return begin <= at && at < end; });
}

// Of the mappings of this file.
inline size_t resident_file_bytes(const std::string& path) {
  return resident_bytes_where(
      [&](uintptr_t, uintptr_t, const std::string& line) { return line.ends_with(path); });
}

}  // namespace fovea::testing
