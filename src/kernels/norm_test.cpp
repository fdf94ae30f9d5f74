#include "kernels/norm.h"

#include <gtest/gtest.h>

#include "mlx/fast.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_matches_fallback;
using testing::random;

TEST(Norm, MatchesTheFallback) {
  for (const int d : {1, 5, 8, 24, 100}) {
    for (const auto dtype : {mx::float32, mx::bfloat16}) {
      const auto x = random({3, 4, d});
      const auto weight = random({d}, dtype);
      expect_matches_fallback([&] { return rms_norm(x, weight, 1e-6f); }, "rms");
      expect_matches_fallback([&] { return rms_norm(x, weight, 1e-6f, 1.0f); }, "rms, offset");
      if (d == 1) continue;  // the variance of one value is nothing but rounding
      expect_matches_fallback([&] { return layer_norm(x, weight, random({d}), 1e-5f); }, "layer");
    }
  }
}

TEST(Norm, TheOffsetIsAddedToTheWeight) {
  const auto x = random({3, 20});
  const auto weight = random({20});
  testing::expect_equal_bits(rms_norm(x, weight, 1e-6f, 1.0f),
                             rms_norm(x, mx::add(weight, mx::array(1.0f)), 1e-6f), "offset");
}

TEST(Norm, TakesStridedInputs) {
  const auto x = mx::transpose(random({24, 10}));
  expect_matches_fallback([&] { return rms_norm(x, random({24}), 1e-6f); }, "rms");
}

TEST(Norm, RefusesAWeightOfAnotherSize) {
  EXPECT_ERROR(rms_norm(random({2, 4}), random({5}), 1e-6f), ErrorKind::kInvalidData, "[norm]");
  EXPECT_ERROR(rms_norm(mx::array(1.0f), random({5}), 1e-6f), ErrorKind::kInvalidData, "[norm]");
  EXPECT_ERROR(layer_norm(random({2, 4}), random({4}), random({3}), 1e-6f), ErrorKind::kInvalidData,
               "[norm]");
}

TEST(Norm, GradientFollowsTheFallback) {
  const auto weight = random({16});
  testing::expect_equal_gradients(
      [&](const mx::array& x) { return rms_norm(x, weight, 1e-6f); },
      [&](const mx::array& x) { return mx::fast::rms_norm(x, weight, 1e-6f); }, random({3, 16}));
}

}  // namespace
}  // namespace fovea::kernels
