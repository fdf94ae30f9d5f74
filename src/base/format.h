// fmt::format, our std::format until the compiler has it.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
