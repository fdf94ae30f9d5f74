#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::expect_matches_fallback;
using testing::random;
using testing::rows;

const AttentionOptions kPlain{0.3f, 0, 0};
const AttentionOptions kWindowed{0.3f, 17, 0};
const AttentionOptions kCapped{0.3f, 0, 5.0f};

TEST(Attention, MatchesTheFallbackForHeadsWindowsAndCaps) {
  for (const int d : {8, 20, 64, 80, 256}) {
    for (const int past : {0, 1, 63, 64, 130}) {
      for (const auto& options : {kPlain, kWindowed, kCapped}) {
        const auto q = random({7, 6, d});
        const auto k = random({200, 2, d});
        const auto v = random({200, 2, d});
        expect_matches_fallback([&] { return causal_attention(q, k, v, past, options); },
                                fmt::format("d {} past {} window {}", d, past, options.window));
      }
    }
  }
}

TEST(Attention, SegmentsSeeOnlyThemselves) {
  const auto q = random({90, 3, 16});
  const auto k = random({90, 3, 16});
  const auto v = random({90, 3, 16});
  const std::vector<int> ends = {0, 1, 13, 13, 90};
  expect_matches_fallback([&] { return segment_attention(q, k, v, ends, 0.25f); }, "segments");
}

TEST(Attention, ASegmentKeepsItsBitsBehindOthers) {
  const auto q = random({190, 3, 16});
  const auto k = random({190, 3, 16});
  const auto v = random({190, 3, 16});
  for (const int at : {1, 13, 64, 100}) {
    const auto together = segment_attention(q, k, v, {0, at, 190}, 0.25f);
    const auto alone = segment_attention(rows(q, at, 190), rows(k, at, 190), rows(v, at, 190),
                                         {0, 190 - at}, 0.25f);
    expect_equal_bits(rows(together, at, 190), alone, fmt::format("segment at {}", at));
  }
}

TEST(Attention, ChunkingDoesNotChangeBits) {
  const auto q = random({150, 4, 40});
  const auto k = random({150, 2, 40});
  const auto v = random({150, 2, 40});
  for (const auto& options : {kPlain, kWindowed, kCapped}) {
    const auto whole = causal_attention(q, k, v, 0, options);
    for (const int chunk : {1, 2, 3, 7, 64, 100}) {
      for (int at = 0; at < 150; at += chunk) {
        const int end = std::min(150, at + chunk);
        expect_equal_bits(rows(whole, at, end),
                          causal_attention(rows(q, at, end), k, v, at, options),
                          fmt::format("chunk {} at {}", chunk, at));
      }
    }
  }
}

TEST(Attention, ALaterKeyDoesNotTouchEarlierRows) {
  const auto q = random({70, 2, 16});
  const auto k = random({70, 2, 16});
  const auto v = random({70, 2, 16});
  const auto poison = mx::concatenate({rows(v, 0, 69), mx::full({1, 2, 16}, NAN)}, 0);
  expect_equal_bits(rows(causal_attention(q, k, v, 0, kPlain), 0, 69),
                    rows(causal_attention(q, k, poison, 0, kPlain), 0, 69), "values");
  const auto bad_key = mx::concatenate({rows(k, 0, 69), mx::full({1, 2, 16}, NAN)}, 0);
  const auto y = causal_attention(q, bad_key, v, 0, kPlain);
  expect_equal_bits(rows(causal_attention(q, k, v, 0, kPlain), 0, 69), rows(y, 0, 69), "keys");
  EXPECT_TRUE(mx::all(mx::isnan(rows(y, 69, 70))).item<bool>()) << "the row that sees it";
}

TEST(Attention, GradientFollowsTheFallback) {
  const auto k = random({5, 2, 8});
  const auto v = random({5, 2, 8});
  testing::expect_equal_gradients(
      [&](const mx::array& q) {
        return segment_attention(q, k, v, {0, 5}, 0.5f);
      },
      [&](const mx::array& q) {
        const auto heads = [](const mx::array& x) { return mx::transpose(x, {1, 0, 2}); };
        const auto scores = mx::matmul(heads(q), mx::swapaxes(heads(k), 1, 2));
        const auto weights = mx::softmax(mx::multiply(scores, mx::array(0.5f)), -1);
        return heads(mx::matmul(weights, heads(v)));
      },
      random({5, 2, 8}));
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const auto q = random({4, 4, 8});
  const auto k = random({4, 2, 8});
  EXPECT_ERROR(causal_attention(q, k, k, 1, kPlain), ErrorKind::kInvalidData, "room for 5 keys");
  EXPECT_ERROR(causal_attention(q, random({4, 3, 8}), random({4, 3, 8}), 0, kPlain),
               ErrorKind::kInvalidData, "H a multiple of K");
  EXPECT_ERROR(causal_attention(random({4, 32}), k, k, 0, kPlain), ErrorKind::kInvalidData,
               "[4, 32]");
  EXPECT_ERROR(segment_attention(q, k, k, {0, 5}, 1.0f), ErrorKind::kInvalidData, "[0, 5]");
  EXPECT_ERROR(segment_attention(q, k, k, {0, 3, 2, 4}, 1.0f), ErrorKind::kInvalidData, "rise");
  EXPECT_ERROR(append_rows(k, random({3, 2, 8}), 2), ErrorKind::kInvalidData, "[append_rows]");
  EXPECT_ERROR(append_rows(k, random({1, 2, 9}), 0), ErrorKind::kInvalidData, "[append_rows]");
}

TEST(AppendRows, WritesInPlaceThroughAChain) {
  auto buffer = mx::zeros({10, 2, 4});
  mx::eval(buffer);
  const float* memory = buffer.data<float>();
  const auto first = random({3, 2, 4});
  const auto second = random({1, 2, 4});
  buffer = append_rows(append_rows(buffer, first, 0), second, 3);
  expect_equal_bits(rows(buffer, 0, 3), first, "first rows");
  expect_equal_bits(rows(buffer, 3, 4), second, "next row");
  EXPECT_EQ(buffer.data<float>(), memory);
}

TEST(AppendRows, CopiesABufferThatIsNotRowMajor) {
  const auto one_value = mx::broadcast_to(mx::array(7.0f), {4, 2, 3});
  const auto row = random({1, 2, 3});
  const auto filled = append_rows(one_value, row, 2);
  expect_equal_bits(rows(filled, 2, 3), row, "the row");
  expect_equal_bits(rows(filled, 0, 2), mx::full({2, 2, 3}, 7.0f), "before it");
  expect_equal_bits(rows(filled, 3, 4), mx::full({1, 2, 3}, 7.0f), "behind it");
}

TEST(AppendRows, TakesStridedRows) {
  const auto packed = mx::slice(random({2, 2, 12}), {0, 0, 4}, {2, 2, 8});
  const auto filled = append_rows(mx::zeros({3, 2, 4}), packed, 1);
  expect_equal_bits(rows(filled, 1, 3), packed, "rows");
}

}  // namespace
}  // namespace fovea::kernels
