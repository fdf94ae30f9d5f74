#include "kernels/memory.h"

#include <gtest/gtest.h>

#include "kernels/op.h"
#include "mlx/memory.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "support/resident.h"

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

// A picture's features live on while the scratch memory of its tower goes.
TEST(AllocatorCache, GoesBackToTheSystemBelowWhatLivesOn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers have an allocator of their own";
#endif
  const auto resident = [] {
    return testing::resident_bytes_where(
        [](uintptr_t, uintptr_t, const std::string&) { return true; });
  };
  set_allocator_cache(size_t{1} << 30);
  const auto block = [](int megabytes) {
    auto made = mx::full({megabytes, 1 << 18}, 1.0f, mx::float32);
    mx::eval(made);
    return made;
  };
  block(30);  // from now on the allocator has blocks of this size in its heap
  mx::clear_cache();
  const size_t before = resident();
  std::vector<mx::array> scratch;
  for (int i = 0; i < 12; ++i) scratch.push_back(block(10 + i % 3));
  const auto lives_on = block(1);
  EXPECT_GT(resident(), before + (size_t{100} << 20));
  scratch.clear();
  trim_allocator_cache();
  EXPECT_LT(resident(), before + (size_t{20} << 20));
}

}  // namespace
}  // namespace fovea::kernels
