#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_matches_fallback;
using testing::random;

TEST(Rope, MatchesTheFallbackInBothLayoutsWholeAndPartial) {
  for (const auto layout : {RopeLayout::kHalves, RopeLayout::kInterleaved}) {
    for (const int d : {16, 18, 80}) {
      for (const int r : {1, 4, d / 2}) {
        const auto cos = random({45, r});
        const auto sin = random({45, r});
        const auto x = random({45, 3, d});
        expect_matches_fallback([&] { return rope(x, cos, sin, layout); }, "rope");
      }
    }
  }
}

TEST(Rope, TurnsPairsByTheirAngles) {
  const float angle = 0.7f;
  const auto cos = mx::full({1, 1}, std::cos(angle));
  const auto sin = mx::full({1, 1}, std::sin(angle));
  const auto x = mx::array({1.0f, 2.0f, 5.0f}, {1, 1, 3});
  for (const auto layout : {RopeLayout::kHalves, RopeLayout::kInterleaved}) {
    auto y = rope(x, cos, sin, layout);
    mx::eval(y);
    EXPECT_NEAR(y.data<float>()[0], std::cos(angle) - 2 * std::sin(angle), 1e-6);
    EXPECT_NEAR(y.data<float>()[1], 2 * std::cos(angle) + std::sin(angle), 1e-6);
    EXPECT_EQ(y.data<float>()[2], 5.0f);
  }
}

TEST(Rope, TakesAViewOfAWiderArray) {
  const auto x = mx::slice(random({5, 3, 48}), {0, 0, 16}, {5, 3, 32});
  expect_matches_fallback([&] { return rope(x, random({5, 8}), random({5, 8})); }, "view");
}

TEST(Rope, RefusesTablesThatDoNotFit) {
  EXPECT_ERROR(rope(random({5, 3, 16}), random({5, 9}), random({5, 9})), ErrorKind::kInvalidData,
               "[rope]");
  EXPECT_ERROR(rope(random({5, 3, 16}), random({4, 8}), random({4, 8})), ErrorKind::kInvalidData,
               "[rope]");
}

}  // namespace
}  // namespace fovea::kernels
