#include "models/vision/qwen_vit.h"

#include <gtest/gtest.h>

#include "models/vision/qwen2_vl_tower.h"

namespace fovea::models::vision {
namespace {

// Two rows and three columns of units in windows of two: the right one is a column wide.
TEST(Windows, GoRowByRowAndEndWithThePicture) {
  const Windows windows = windows_of({1, 2, 3, 2}, 2);
  EXPECT_EQ(windows.order, std::vector<int>({0, 1, 3, 4, 2, 5}));
  EXPECT_EQ(windows.cu_seqlens, std::vector<int>({0, 16, 24}));
}

TEST(Windows, NeverSpanFrames) {
  const Windows windows = windows_of({2, 3, 1, 1}, 2);
  EXPECT_EQ(windows.order, std::vector<int>({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(windows.cu_seqlens, std::vector<int>({0, 2, 3, 5, 6}));
}

TEST(Windows, OfAPictureThatFitsInOneAreItsUnitsInOrder) {
  const UnitGrid grid = {1, 4, 4, 2};
  const Windows windows = windows_of(grid, 4);
  EXPECT_EQ(windows.order, units_in_order(grid));
  EXPECT_EQ(windows.cu_seqlens, frame_bounds(grid));
}

}  // namespace
}  // namespace fovea::models::vision
