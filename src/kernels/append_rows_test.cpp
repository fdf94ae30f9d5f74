#include "kernels/append_rows.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::random;
using testing::rows;

// Keys [begin, end) of a buffer [K, C, D], as rows [T, K, D].
mx::array keys(const mx::array& buffer, int begin, int end) {
  const auto some = mx::slice(buffer, {0, begin, 0}, {buffer.shape(0), end, buffer.shape(2)});
  return mx::transpose(some, {1, 0, 2});
}

TEST(AppendRows, WritesInPlaceThroughAChain) {
  auto buffer = mx::zeros({2, 10, 4});
  mx::eval(buffer);
  const float* memory = buffer.data<float>();
  const auto first = random({3, 2, 4});
  const auto second = random({1, 2, 4});
  buffer = append_rows(append_rows(buffer, first, 0), second, 3);
  expect_equal_bits(keys(buffer, 0, 3), first, "first rows");
  expect_equal_bits(keys(buffer, 3, 4), second, "next row");
  expect_equal_bits(keys(buffer, 4, 10), mx::zeros({6, 2, 4}), "behind them");
  EXPECT_EQ(buffer.data<float>(), memory);
}

TEST(AppendRows, RoundsIntoABfloat16Buffer) {
  const auto x = random({5, 2, 40});
  const auto filled = append_rows(mx::zeros({2, 6, 40}, mx::bfloat16), x, 1);
  EXPECT_EQ(filled.dtype(), mx::bfloat16);
  const auto wide = mx::astype(filled, mx::float32);
  expect_equal_bits(keys(wide, 1, 6), mx::astype(mx::astype(x, mx::bfloat16), mx::float32), "rows");
  expect_equal_bits(keys(wide, 0, 1), mx::zeros({1, 2, 40}), "before them");
}

TEST(AppendRows, CopiesABufferThatIsNotRowMajor) {
  const auto one_value = mx::broadcast_to(mx::array(7.0f), {2, 4, 3});
  const auto row = random({1, 2, 3});
  const auto filled = append_rows(one_value, row, 2);
  expect_equal_bits(keys(filled, 2, 3), row, "the row");
  expect_equal_bits(keys(filled, 0, 2), mx::full({2, 2, 3}, 7.0f), "before it");
  expect_equal_bits(keys(filled, 3, 4), mx::full({1, 2, 3}, 7.0f), "behind it");
}

TEST(AppendRows, TakesStridedRows) {
  const auto packed = mx::slice(random({2, 2, 12}), {0, 0, 4}, {2, 2, 8});
  const auto filled = append_rows(mx::zeros({2, 3, 4}), packed, 1);
  expect_equal_bits(keys(filled, 1, 3), packed, "rows");
}

TEST(AppendRows, WritesManyRowsByAllThreads) {
  const auto x = random({900, 3, 64});
  expect_equal_bits(keys(append_rows(mx::zeros({3, 1000, 64}), x, 50), 50, 950), x, "rows");
}

TEST(AppendRows, RefusesWhatDoesNotFit) {
  const auto k = random({2, 4, 8});
  EXPECT_ERROR(append_rows(k, random({3, 2, 8}), 2), ErrorKind::kInvalidData, "[append_rows]");
  EXPECT_ERROR(append_rows(k, random({1, 2, 9}), 0), ErrorKind::kInvalidData, "[append_rows]");
  EXPECT_ERROR(append_rows(random({2, 4, 8}, mx::float16), random({1, 2, 8}), 0),
               ErrorKind::kInvalidData, "got one of float16");
}

}  // namespace
}  // namespace fovea::kernels
