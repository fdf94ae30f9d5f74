// The inner loop of resizing: sums of 8-bit values by fixed-point weights, for many values that lie
// side by side. Any thread may call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fovea::processors {

inline constexpr int kWeightBits = 32 - 8 - 2;  // behind the point

// to[i] = the sum over t of from[t * stride + i] * weights[t], rounded and clamped to 8 bits.
using Weigh = void (*)(const uint8_t* from, size_t stride, std::span<const int32_t> weights,
                       uint8_t* to, size_t count);

// The fastest that this processor runs. All give the same bits, since they add integers.
Weigh weigh();

// All that this processor runs, for tests.
struct WeighVariant {
  std::string_view name;
  Weigh weigh;
};
std::vector<WeighVariant> weigh_variants();

}  // namespace fovea::processors
