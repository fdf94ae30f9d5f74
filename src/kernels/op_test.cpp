#include "kernels/op.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/append_rows.h"
#include "kernels/kv_bytes.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/views.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::random;

TEST(AtOnce, ResultsAreThereAndHaveTheBitsOfTheGraph) {
  const auto x = random({3, 64});
  const auto weight = random({64});
  const auto w = Weight{.values = random({20, 64})};
  const auto block = [&](const mx::array& in) { return linear(rms_norm(in, weight, 1e-5f), w); };
  const auto later = block(x);
  EXPECT_FALSE(later.is_available());
  const AtOnce scope;
  const auto now = block(x);
  EXPECT_TRUE(now.is_available());
  expect_equal_bits(now, later, "block");
}

TEST(AtOnce, ResultsAreCompleteWithoutWaiting) {
  const auto x = random({64, 1024});
  const auto w = Weight{.values = random({2048, 1024})};
  mx::array expected = linear(x, w);
  mx::eval(expected);
  const AtOnce scope;
  const auto now = linear(x, w);
  EXPECT_EQ(std::memcmp(now.data<float>(), expected.data<float>(), now.nbytes()), 0);
}

TEST(AtOnce, WaitsForWhatMlxStillOwes) {
  const auto x = random({5, 64});
  const auto w = Weight{.values = random({20, 64})};
  // Nodes of both kinds that were made before the scope, and MLX's own that are made within.
  const auto before = mx::add(linear(x, w), mx::array(1.0f));
  const auto norm = random({20});
  const auto expected = rms_norm(mx::multiply(before, mx::array(3.0f)), norm, 1e-5f);
  mx::eval(mx::array(expected));
  const auto again = mx::add(linear(x, w), mx::array(1.0f));
  const AtOnce scope;
  const auto got = rms_norm(mx::multiply(again, mx::array(3.0f)), norm, 1e-5f);
  EXPECT_TRUE(got.is_available());
  expect_equal_bits(got, expected, "mixed");
}

TEST(AtOnce, AppendsInPlace) {
  const auto rows = random({3, 2, 32});
  const auto turned = mx::transpose(rows, {1, 0, 2});  // as a buffer holds them
  const int bytes = kv_row_bytes(32, 32);
  const auto stored = append_kv_bytes(mx::zeros({2, 8, bytes}, mx::uint8), rows, 0, 32);
  mx::eval(mx::array(stored));
  const AtOnce scope;
  auto buffer = mx::zeros({2, 8, 32});
  const auto once = append_rows(buffer, rows, 0);
  const auto twice = append_rows(once, rows_of(rows, 1, 2), 3);
  EXPECT_TRUE(twice.is_available());
  EXPECT_EQ(twice.data<float>(), once.data<float>());
  const auto keys = [&](int begin, int end) {
    return mx::slice(twice, {0, begin, 0}, {2, end, 32});
  };
  expect_equal_bits(keys(0, 3), turned, "first");
  expect_equal_bits(keys(3, 4), mx::slice(turned, {0, 1, 0}, {2, 2, 32}), "second");
  const auto now = append_kv_bytes(mx::zeros({2, 8, bytes}, mx::uint8), rows, 0, 32);
  EXPECT_TRUE(now.is_available());
  EXPECT_EQ(std::memcmp(now.data<uint8_t>(), stored.data<uint8_t>(), now.nbytes()), 0);
}

}  // namespace
}  // namespace fovea::kernels
