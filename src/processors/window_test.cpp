#include "processors/window.h"

#include <gtest/gtest.h>

namespace fovea::processors {
namespace {

// Pixel (x, y) is {x, y, 7}.
Image numbered(int width, int height) {
  Image image{{width, height}, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.rgb.insert(image.rgb.end(), {static_cast<uint8_t>(x), static_cast<uint8_t>(y), 7});
    }
  }
  return image;
}

TEST(Window, CutsAndPadsOnEverySide) {
  const Image image = numbered(3, 2);
  for (const auto& [left, top] : {std::pair{0, 0}, {1, 1}, {-1, -2}, {2, 0}, {-4, 0}, {5, 5}}) {
    const Image cut = window(image, left, top, {4, 3}, {9, 8, 6});
    ASSERT_EQ(cut.size, (Size{4, 3}));
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 4; ++x) {
        const bool inside = x + left >= 0 && x + left < 3 && y + top >= 0 && y + top < 2;
        const auto at = static_cast<size_t>(y * 4 + x) * 3;
        EXPECT_EQ(cut.rgb[at], inside ? x + left : 9) << left << " " << top;
        EXPECT_EQ(cut.rgb[at + 1], inside ? y + top : 8) << left << " " << top;
        EXPECT_EQ(cut.rgb[at + 2], inside ? 7 : 6) << left << " " << top;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::processors
