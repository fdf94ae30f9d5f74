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

// Keys and values in bfloat16: rows of a prompt, then rows of an answer.
TEST(Attention, MatchesTheFallbackOverBfloat16) {
  for (const int d : {32, 64, 72, 80, 96, 128, 256}) {
    for (const int past : {0, 1, 127, 128, 200}) {
      for (auto options : {kPlain, kWindowed, kCapped}) {
        options.scale = 1 / std::sqrt(static_cast<float>(d));
        const auto q = random({7, 6, d});
        const auto k = random({210, 2, d}, mx::bfloat16);
        const auto v = random({210, 2, d}, mx::bfloat16);
        for (const bool decode : {false, true}) {
          options.decode = decode;
          expect_matches_fallback([&] { return causal_attention(q, k, v, past, options); },
                                  fmt::format("d {} past {} window {} cap {} decode {}", d, past,
                                              options.window, options.softcap, decode));
        }
      }
    }
  }
}

TEST(Attention, RowsOfAnAnswerAreExactOverBfloat16) {
  for (const int heads : {1, 2, 8, 60}) {
    const auto q = random({3, heads, 40});
    const auto k = random({700, heads > 2 ? 2 : 1, 40}, mx::bfloat16);
    const auto v = random({700, heads > 2 ? 2 : 1, 40}, mx::bfloat16);
    const auto wide = [](const mx::array& x) { return mx::astype(x, mx::float32); };
    for (auto options : {kPlain, kWindowed, AttentionOptions{0.3f, 400, 0}}) {
      const auto exact = causal_attention(q, wide(k), wide(v), 690, options);
      options.decode = true;
      const auto what = fmt::format("{} heads window {}", heads, options.window);
      expect_equal_bits(causal_attention(q, k, v, 690, options), exact, what);
      for (const int row : {0, 1, 2}) {
        const auto alone = causal_attention(rows(q, row, row + 1), k, v, 690 + row, options);
        expect_equal_bits(alone, rows(exact, row, row + 1), what + fmt::format(" row {}", row));
      }
    }
  }
}

TEST(Attention, LongHistoriesMatchTheFallback) {
  const auto q = random({2, 6, 64});
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto k = random({1300, 2, 64}, dtype);
    const auto v = random({1300, 2, 64}, dtype);
    for (const int window : {0, 600}) {
      const AttentionOptions options{0.125f, window, 0, true};
      expect_matches_fallback([&] { return causal_attention(q, k, v, 1298, options); }, "two rows");
      expect_matches_fallback([&] { return causal_attention(rows(q, 0, 1), k, v, 1298, options); },
                              "one row");
    }
  }
}

TEST(Attention, SegmentsSeeOnlyThemselves) {
  const auto q = random({90, 3, 16});
  const auto k = random({90, 3, 16});
  const auto v = random({90, 3, 16});
  const std::vector<int> ends = {0, 1, 13, 13, 90};
  for (const auto products : {Products::kFloat32, Products::kBFloat16}) {
    expect_matches_fallback([&] { return segment_attention(q, k, v, ends, 0.25f, products); },
                            "segments");
  }
}

TEST(Attention, ASegmentKeepsItsBitsBehindOthers) {
  const auto q = random({190, 3, 16});
  const auto k = random({190, 3, 16});
  const auto v = random({190, 3, 16});
  for (const auto products : {Products::kFloat32, Products::kBFloat16}) {
    for (const int at : {1, 13, 64, 100}) {
      const auto together = segment_attention(q, k, v, {0, at, 190}, 0.25f, products);
      const auto alone = segment_attention(rows(q, at, 190), rows(k, at, 190), rows(v, at, 190),
                                           {0, 190 - at}, 0.25f, products);
      expect_equal_bits(rows(together, at, 190), alone, fmt::format("segment at {}", at));
    }
  }
}

// Every row of `whole` = attention over all rows, against the same rows in chunks of every size.
void expect_chunks_alike(const mx::array& q, const mx::array& k, const mx::array& v,
                         const AttentionOptions& options, std::initializer_list<int> chunks) {
  const int count = q.shape(0);
  const auto whole = causal_attention(q, k, v, 0, options);
  for (const int chunk : chunks) {
    std::vector<mx::array> parts;
    for (int at = 0; at < count; at += chunk) {
      const auto part = rows(q, at, std::min(count, at + chunk));
      parts.push_back(causal_attention(part, k, v, at, options));
    }
    expect_equal_bits(whole, mx::concatenate(parts, 0),
                      fmt::format("chunks of {} window {}", chunk, options.window));
  }
}

TEST(Attention, ChunkingDoesNotChangeBits) {
  const auto q = random({150, 4, 40});
  const auto k = random({150, 2, 40});
  const auto v = random({150, 2, 40});
  for (const auto& options : {kPlain, kWindowed, kCapped}) {
    expect_chunks_alike(q, k, v, options, {1, 2, 3, 7, 64, 100});
  }
}

TEST(Attention, ChunkingDoesNotChangeBitsOfLongHistories) {
  const auto q = random({600, 4, 24});
  const auto k = random({600, 2, 24});
  const auto v = random({600, 2, 24});
  for (const auto& options : {kPlain, AttentionOptions{0.3f, 300, 0}}) {
    expect_chunks_alike(q, k, v, options, {1, 7, 256, 300});
  }
}

TEST(Attention, ChunkingDoesNotChangeBitsOverBfloat16) {
  for (const int d : {40, 64, 72, 128}) {
    const auto q = random({290, 6, d});
    const auto k = random({290, 2, d}, mx::bfloat16);
    const auto v = random({290, 2, d}, mx::bfloat16);
    for (const auto& options : {kPlain, kWindowed, kCapped}) {
      expect_chunks_alike(q, k, v, options, {1, 2, 3, 5, 7, 24, 63, 64, 65, 128, 200});
    }
  }
  const auto q = random({64, 3, 64});
  const auto k = random({64, 1, 64}, mx::bfloat16);
  const auto v = random({64, 1, 64}, mx::bfloat16);
  for (int chunk = 1; chunk < 64; ++chunk) expect_chunks_alike(q, k, v, kPlain, {chunk});
}

// What a row does not see must not reach it, not even where its weight is 0.
TEST(Attention, ALaterKeyDoesNotTouchEarlierRows) {
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto q = random({70, 2, 16});
    const auto k = random({70, 2, 16}, dtype);
    const auto v = random({70, 2, 16}, dtype);
    const auto nan = mx::full({1, 2, 16}, NAN, dtype);
    const auto expected = rows(causal_attention(q, k, v, 0, kPlain), 0, 69);
    const auto poison = mx::concatenate({rows(v, 0, 69), nan}, 0);
    expect_equal_bits(expected, rows(causal_attention(q, k, poison, 0, kPlain), 0, 69), "values");
    const auto bad_key = mx::concatenate({rows(k, 0, 69), nan}, 0);
    const auto y = causal_attention(q, bad_key, v, 0, kPlain);
    expect_equal_bits(expected, rows(y, 0, 69), "keys");
    EXPECT_TRUE(mx::all(mx::isnan(rows(y, 69, 70))).item<bool>()) << "the row that sees it";
  }
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
}

}  // namespace
}  // namespace fovea::kernels
