#include "processors/weigh.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace fovea::processors {
namespace {

// Sums as wide as they come, for every number of values that ends a loop of some variant, and
// weights of both signs that leave the 8 bits at both ends.
TEST(Weigh, EveryVariantSumsExactly) {
  constexpr size_t kStride = 211;
  std::vector<uint8_t> from(kStride * 9);
  uint32_t state = 7;
  for (auto& value : from)
    value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  const std::vector<int32_t> weights = {-400000, 1 << 21, 3000000, -1234567, 1, 777777, -2100000};
  for (const auto& [name, weigh] : weigh_variants()) {
    for (size_t count = 0; count <= kStride; ++count) {
      std::vector<uint8_t> out(kStride + 1, 99);
      weigh(from.data(), kStride, weights, out.data(), count);
      for (size_t i = 0; i < count; ++i) {
        int64_t sum = 0;
        for (size_t t = 0; t < weights.size(); ++t) {
          sum += int64_t{from[t * kStride + i]} * weights[t];
        }
        const double exact = static_cast<double>(sum) / (1 << kWeightBits);
        ASSERT_EQ(out[i], std::clamp(std::floor(exact + 0.5), 0.0, 255.0))
            << name << ", value " << i << " of " << count;
      }
      ASSERT_EQ(out[count], 99) << name << " writes behind value " << count;
    }
  }
}

}  // namespace
}  // namespace fovea::processors
