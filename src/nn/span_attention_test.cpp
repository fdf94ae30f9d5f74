#include "nn/span_attention.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace fovea::nn {
namespace {

constexpr int kPast = 5;
constexpr int kRows = 4;
constexpr int kDim = 8;

// One row and head after the other: softmax over the keys that it sees.
mx::array one_by_one(const mx::array& q, const mx::array& k, const mx::array& v,
                     const AttentionSpec& spec) {
  std::vector<mx::array> rows;
  for (int row = 0; row < kRows; ++row) {
    const int first = spec.window > 0 ? std::max(0, kPast + row - spec.window + 1) : 0;
    for (int head = 0; head < 4; ++head) {
      const auto part = [&](const mx::array& buffer) {
        return mx::reshape(
            mx::slice(buffer, {first, head / 2, 0}, {kPast + kRows, head / 2 + 1, kDim}),
            {-1, kDim});
      };
      const auto query = mx::slice(q, {row, head, 0}, {row + 1, head + 1, kDim});
      auto scores = mx::multiply(mx::matmul(mx::reshape(query, {1, kDim}), mx::transpose(part(k))),
                                 mx::array(spec.scale));
      if (spec.softcap > 0) {
        scores = mx::multiply(mx::tanh(mx::divide(scores, mx::array(spec.softcap))),
                              mx::array(spec.softcap));
      }
      rows.push_back(mx::matmul(mx::softmax(scores, -1), part(v)));
    }
  }
  return mx::reshape(mx::concatenate(rows, 0), {kRows, 4, kDim});
}

TEST(SpanAttention, RowsSeeEachOtherAndWhatCameBefore) {
  const auto random = [](int rows, int heads, uint64_t seed) {
    return mx::random::normal({rows, heads, kDim}, mx::float32, mx::random::key(seed));
  };
  const auto q = random(kRows, 4, 1);
  const auto k = random(32, 2, 2);  // a buffer with room behind the last key
  const auto v = random(32, 2, 3);
  for (const AttentionSpec& spec :
       {AttentionSpec{0.4f}, AttentionSpec{0.4f, 6}, AttentionSpec{0.4f, 0, 1.5f}}) {
    const auto got = span_attention(q, k, v, kPast, spec);
    const auto expected = one_by_one(q, k, v, spec);
    EXPECT_TRUE(mx::allclose(got, expected, 1e-5, 1e-5).item<bool>())
        << "window " << spec.window << " softcap " << spec.softcap;
  }
}

}  // namespace
}  // namespace fovea::nn
