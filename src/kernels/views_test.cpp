#include "kernels/views.h"

#include <gtest/gtest.h>

#include <optional>

#include "kernels/op.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::random;

// Both ways, for arrays that are there and for others.
template <class Test>
void in_both_ways(Test test) {
  for (const bool now : {false, true}) {
    std::optional<AtOnce> scope;
    if (now) scope.emplace();
    test(random({6, 4, 5}));
    test(mx::transpose(random({5, 4, 6}), {2, 1, 0}));
    test(mx::multiply(random({6, 4, 5}), mx::array(2.0f)));
  }
}

TEST(Views, ReshapeAsMlxDoes) {
  in_both_ways([](const mx::array& x) {
    for (const mx::Shape& shape : {mx::Shape{120}, {24, 5}, {6, 20}, {1, 6, 4, 5}}) {
      expect_equal_bits(reshaped(x, shape), mx::reshape(x, shape), "shape");
      // A view of a view.
      const auto twice = reshaped(reshaped(x, shape), {5, 24});
      expect_equal_bits(twice, mx::reshape(x, {5, 24}), "twice");
    }
    expect_equal_bits(reshaped(x, {-1}), mx::reshape(x, {-1}), "-1");
    EXPECT_THROW(reshaped(x, {7, 5}), std::exception);
  });
}

TEST(Views, CutRowsAsMlxDoes) {
  in_both_ways([](const mx::array& x) {
    for (const auto& [begin, end] : {std::pair{0, 6}, {0, 1}, {2, 5}, {5, 6}}) {
      const auto cut = rows_of(x, begin, end);
      expect_equal_bits(cut, mx::slice(x, {begin, 0, 0}, {end, 4, 5}), "rows");
      expect_equal_bits(rows_of(cut, 0, 1), mx::slice(x, {begin, 0, 0}, {begin + 1, 4, 5}),
                        "again");
      // MLX's own ops must read a view as any other array.
      expect_equal_bits(mx::transpose(cut), mx::transpose(mx::slice(x, {begin, 0, 0}, {end, 4, 5})),
                        "turned");
    }
  });
}

TEST(Views, JoinRowsAsMlxDoes) {
  in_both_ways([](const mx::array& x) {
    const auto more = random({2, 4, 5});
    expect_equal_bits(joined_rows({x}), x, "one");
    expect_equal_bits(joined_rows({x, more, rows_of(x, 1, 3)}),
                      mx::concatenate({x, more, mx::slice(x, {1, 0, 0}, {3, 4, 5})}, 0), "three");
  });
}

TEST(Views, MakeFloatsAsMlxDoes) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16, mx::int32}) {
    in_both_ways([&](const mx::array& x) {
      auto values = mx::astype(mx::multiply(x, mx::array(100.0f)), dtype);
      mx::eval(values);
      expect_equal_bits(as_float32(values), mx::astype(values, mx::float32), "there");
      const auto later = mx::multiply(values, values);
      expect_equal_bits(as_float32(later), mx::astype(later, mx::float32), "later");
    });
  }
}

TEST(Views, AreRowMajorWhereTheyWereNot) {
  const auto x = random({4, 6});
  EXPECT_EQ(row_major(x).data<float>(), x.data<float>());
  auto turned = mx::transpose(x);
  mx::eval(turned);
  auto copy = row_major(turned);
  mx::eval(copy);
  EXPECT_TRUE(copy.flags().row_contiguous);
  expect_equal_bits(copy, turned, "turned");
}

}  // namespace
}  // namespace fovea::kernels
