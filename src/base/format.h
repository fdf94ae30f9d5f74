// fmt::format, our std::format until the compiler has it.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>

namespace fovea {

// For people: what disks and downloads are measured in.
inline double gigabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

}  // namespace fovea
