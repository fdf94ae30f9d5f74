#include "kernels/memory.h"

#include <gtest/gtest.h>

#include "kernels/op.h"

namespace fovea::kernels {
namespace {

TEST(Kept, ShrinksOnlyFromALongPromptToAShortRow) {
  constexpr size_t kLarge = size_t{8} << 20;  // 32 MB of float
  std::vector<float> memory;
  float* const first = kept(memory, kLarge);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  EXPECT_EQ(kept(memory, kLarge / 4), first);
  EXPECT_EQ(kept(memory, kLarge), first);
  kept(memory, kLarge / 100);
  EXPECT_LT(memory.size(), kLarge / 50);
  float* const small = kept(memory, 1000);
  EXPECT_EQ(kept(memory, 1), small);
}

}  // namespace
}  // namespace fovea::kernels
