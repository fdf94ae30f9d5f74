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

// Keys and values by key first, [C, K, D]: a view of what causal_attention takes.
mx::array causal(const mx::array& q, const mx::array& k, const mx::array& v, int past,
                 const AttentionOptions& options) {
  const auto by_head = [](const mx::array& x) { return mx::transpose(x, {1, 0, 2}); };
  return causal_attention(q, by_head(k), by_head(v), past, options);
}

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
        expect_matches_fallback([&] { return causal(q, k, v, past, options); },
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
          expect_matches_fallback([&] { return causal(q, k, v, past, options); },
                                  fmt::format("d {} past {} window {} cap {} decode {}", d, past,
                                              options.window, options.softcap, decode));
        }
      }
    }
  }
}

TEST(Attention, RowsOfAnAnswerAreExactOverBfloat16) {
  for (const int heads : {1, 2, 8, 10, 14, 60}) {
    const auto q = random({3, heads, 40});
    const auto k = random({700, heads > 2 ? 2 : 1, 40}, mx::bfloat16);
    const auto v = random({700, heads > 2 ? 2 : 1, 40}, mx::bfloat16);
    const auto wide = [](const mx::array& x) { return mx::astype(x, mx::float32); };
    for (auto options : {kPlain, kWindowed, AttentionOptions{0.3f, 400, 0}}) {
      const auto exact = causal(q, wide(k), wide(v), 690, options);
      options.decode = true;
      const auto what = fmt::format("{} heads window {}", heads, options.window);
      const auto together = causal(q, k, v, 690, options);
      EXPECT_TRUE(mx::allclose(together, exact, 1e-5, 1e-5).item<bool>()) << what;
      for (const int row : {0, 1, 2}) {
        const auto alone = causal(rows(q, row, row + 1), k, v, 690 + row, options);
        expect_equal_bits(alone, rows(together, row, row + 1), what + fmt::format(" row {}", row));
      }
    }
  }
}

TEST(Attention, StridesDoNotChangeBits) {
  // Queries, keys and values side by side, as one product gives them; a head behind an odd element.
  const auto packed = random({80, 3, 2, 41});
  const auto part = [&](int i) {
    return mx::squeeze(mx::slice(packed, {0, i, 0, 1}, {80, i + 1, 2, 41}), 1);
  };
  const auto apart = [](const mx::array& x) {
    auto copy = mx::contiguous(x);
    mx::eval(copy);
    return copy;
  };
  const auto halves = [](const mx::array& x) { return mx::astype(x, mx::bfloat16); };
  const auto q = part(0), k = part(1), v = part(2);
  for (const auto products : {Products::kFloat32, Products::kBFloat16}) {
    expect_equal_bits(segment_attention(q, k, v, {0, 33, 80}, 0.2f, products),
                      segment_attention(apart(q), apart(k), apart(v), {0, 33, 80}, 0.2f, products),
                      "segments");
  }
  for (const bool decode : {false, true}) {
    const AttentionOptions options{0.2f, 0, 0, decode};
    const auto by_key = causal(q, halves(k), halves(v), 0, options);
    const auto by_head = [&](const mx::array& x) {
      return apart(mx::transpose(halves(x), {1, 0, 2}));
    };
    expect_equal_bits(by_key, causal_attention(apart(q), by_head(k), by_head(v), 0, options),
                      "causal");
  }
  // Every second element: no head lies together.
  const auto thin = [&](const mx::array& x) {
    return mx::slice(x, {0, 0, 0}, {80, 2, 40}, {1, 1, 2});
  };
  expect_equal_bits(cross_attention(thin(q), thin(k), thin(v), kPlain),
                    cross_attention(apart(thin(q)), apart(thin(k)), apart(thin(v)), kPlain),
                    "thin");
}

// The numerics that a test goes through: float32, rows of a prompt and of an answer over bfloat16.
struct Kept {
  mx::Dtype dtype;
  bool decode;
};
const Kept kKept[] = {{mx::float32, false}, {mx::bfloat16, false}, {mx::bfloat16, true}};

TEST(Attention, ChunksOfPositionsHideEarlierKeys) {
  const auto q = random({40, 4, 64});
  for (const auto [dtype, decode] : kKept) {
    const auto k = random({240, 2, 64}, dtype);
    const auto v = random({240, 2, 64}, dtype);
    AttentionOptions options{0.125f, 0, 0, decode};
    options.chunk = 100;
    for (const int past : {0, 90, 200}) {
      expect_matches_fallback([&] { return causal(q, k, v, past, options); }, "chunk");
    }
    // The row at position 200 sees itself alone.
    const auto first = rows(causal(q, k, v, 200, options), 0, 1);
    const auto own = mx::repeat(mx::astype(rows(v, 200, 201), mx::float32), 2, 1);
    EXPECT_TRUE(mx::allclose(first, own, 1e-2, 1e-2).item<bool>());
  }
}

TEST(Attention, RowsOfASpanSeeAllOfIt) {
  const auto q = random({150, 4, 32});
  for (const auto [dtype, decode] : kKept) {
    const auto k = random({180, 2, 32}, dtype);
    const auto v = random({180, 2, 32}, dtype);
    for (const int window : {0, 9}) {
      AttentionOptions options{0.2f, window, 0, decode};
      options.spans = {{3, 3}, {20, 60}, {60, 61}, {130, 180}};
      expect_matches_fallback([&] { return causal(q, k, v, 30, options); }, "spans");
      // All rows of a span see the same: a window takes nothing of it.
      AttentionOptions whole{0.2f, 0, 0, decode};
      whole.spans = {{0, 180}};
      const auto y = causal(q, k, v, 30, whole);
      const auto crossed = cross_attention(q, k, v, {0.2f, 0, 0, decode});
      expect_equal_bits(y, crossed, "a span of all");
    }
  }
}

TEST(Attention, MasksAreAddedAndMayHideAll) {
  for (const int d : {32, 72, 80, 96, 256}) {
    const auto q = random({37, 6, d});
    for (const auto [dtype, decode] : kKept) {
      const auto k = random({301, 2, d}, dtype);
      const auto v = random({301, 2, d}, dtype);
      for (const bool by_head : {false, true}) {
        for (const float cap : {0.0f, 3.0f}) {
          AttentionOptions options{0.2f, 0, cap, decode};
          const auto noise = random(by_head ? mx::Shape{6, 37, 301} : mx::Shape{37, 301});
          const auto hidden = mx::less(noise, mx::array(-0.5f));
          const auto row = mx::reshape(mx::equal(mx::arange(37), mx::array(5)), {37, 1});
          options.mask = mx::where(mx::logical_or(hidden, row), mx::array(-INFINITY), noise);
          const auto what = fmt::format("d {} by head {} cap {}", d, by_head, cap);
          expect_matches_fallback([&] { return cross_attention(q, k, v, options); }, what);
          const auto blind = rows(cross_attention(q, k, v, options), 5, 6);
          expect_equal_bits(blind, mx::zeros({1, 6, d}), what + ": a row that sees nothing");
        }
      }
    }
  }
}

TEST(Attention, MasksAndSinksWorkForFewRowsAndLongHistories) {
  for (const auto [dtype, decode] : kKept) {
    const auto q = random({2, 6, 64});
    const auto k = random({900, 2, 64}, dtype);
    const auto v = random({900, 2, 64}, dtype);
    AttentionOptions options{0.125f, 0, 0, decode};
    options.mask = random({2, 900});
    options.sinks = mx::multiply(random({6}), mx::array(4.0f));
    expect_matches_fallback([&] { return causal(q, k, v, 898, options); }, "few rows");
    options.mask = random({1, 900});
    const auto last = rows(q, 1, 2);
    expect_matches_fallback([&] { return causal(last, k, v, 899, options); }, "one row");
  }
}

TEST(Attention, SinksTakeTheirShare) {
  const auto q = random({33, 6, 40});
  for (const auto [dtype, decode] : kKept) {
    const auto k = random({90, 3, 40}, dtype);
    const auto v = random({90, 3, 40}, dtype);
    for (const int window : {0, 20}) {
      AttentionOptions options{0.2f, window, 0, decode};
      const auto plain = causal(q, k, v, 50, options);
      options.sinks = mx::array({-2.0f, 0.0f, 3.0f, -INFINITY, 60.0f, 1.0f});
      expect_matches_fallback([&] { return causal(q, k, v, 50, options); }, "sinks");
      const auto y = causal(q, k, v, 50, options);
      const auto head = [](const mx::array& x, int h) {
        return mx::slice(x, {0, h, 0}, {33, h + 1, 40});
      };
      EXPECT_TRUE(mx::allclose(head(y, 3), head(plain, 3), 1e-5, 1e-6).item<bool>());
      EXPECT_LT(mx::max(mx::abs(head(y, 4))).item<float>(), 1e-6f);
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
      expect_matches_fallback([&] { return causal(q, k, v, 1298, options); }, "two rows");
      expect_matches_fallback([&] { return causal(rows(q, 0, 1), k, v, 1298, options); },
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
  const auto whole = causal(q, k, v, 0, options);
  for (const int chunk : chunks) {
    std::vector<mx::array> parts;
    for (int at = 0; at < count; at += chunk) {
      const auto part = rows(q, at, std::min(count, at + chunk));
      parts.push_back(causal(part, k, v, at, options));
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
    const auto expected = rows(causal(q, k, v, 0, kPlain), 0, 69);
    const auto poison = mx::concatenate({rows(v, 0, 69), nan}, 0);
    expect_equal_bits(expected, rows(causal(q, k, poison, 0, kPlain), 0, 69), "values");
    const auto bad_key = mx::concatenate({rows(k, 0, 69), nan}, 0);
    const auto y = causal(q, bad_key, v, 0, kPlain);
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

TEST(Attention, GradientReachesMasksAndSinks) {
  const auto q = random({5, 4, 8});
  const auto k = random({9, 2, 8});
  const auto mask = random({5, 9});
  const auto by_hand = [&](const mx::array& sinks, const mx::array& added) {
    const auto heads = [](const mx::array& x) { return mx::transpose(x, {1, 0, 2}); };
    const auto wide = heads(mx::repeat(k, 2, 1));
    const auto scores = mx::add(mx::matmul(heads(q), mx::swapaxes(wide, 1, 2)), added);
    const auto sink = mx::broadcast_to(mx::reshape(sinks, {4, 1, 1}), {4, 5, 1});
    const auto weights = mx::softmax(mx::concatenate({scores, sink}, -1), -1);
    return heads(mx::matmul(mx::slice(weights, {0, 0, 0}, {4, 5, 9}), wide));
  };
  const auto op = [&](const mx::array& sinks, const mx::array& added) {
    AttentionOptions options;
    options.mask = added;
    options.sinks = sinks;
    return cross_attention(q, k, k, options);
  };
  const auto sinks = random({4});
  testing::expect_equal_gradients([&](const mx::array& x) { return op(x, mask); },
                                  [&](const mx::array& x) { return by_hand(x, mask); }, sinks);
  testing::expect_equal_gradients([&](const mx::array& x) { return op(sinks, x); },
                                  [&](const mx::array& x) { return by_hand(sinks, x); }, mask);
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const auto q = random({4, 4, 8});
  const auto k = random({4, 2, 8});
  AttentionOptions options;
  options.mask = random({4, 5});
  EXPECT_ERROR(causal(q, k, k, 0, options), ErrorKind::kInvalidData, "mask [4, 4], with");
  options.mask = random({2, 4, 4});
  EXPECT_ERROR(cross_attention(q, k, k, options), ErrorKind::kInvalidData, "got [2, 4, 4]");
  options.mask = {};
  options.sinks = random({2});
  EXPECT_ERROR(causal(q, k, k, 0, options), ErrorKind::kInvalidData, "sinks [4] but got [2]");
  options.sinks = {};
  options.spans = {{2, 5}};
  EXPECT_ERROR(causal(q, k, k, 0, options), ErrorKind::kInvalidData, "cut at key 4 but got [2, 5)");
  options.spans = {{1, 3}, {2, 4}};
  EXPECT_ERROR(causal(q, k, k, 0, options), ErrorKind::kInvalidData, "[2, 4) behind 3");
  EXPECT_ERROR(causal(q, k, k, 1, kPlain), ErrorKind::kInvalidData, "room for 5 keys");
  EXPECT_ERROR(causal(q, random({4, 3, 8}), random({4, 3, 8}), 0, kPlain), ErrorKind::kInvalidData,
               "H a multiple of K");
  EXPECT_ERROR(causal(random({4, 32}), k, k, 0, kPlain), ErrorKind::kInvalidData, "[4, 32]");
  EXPECT_ERROR(segment_attention(q, k, k, {0, 5}, 1.0f), ErrorKind::kInvalidData, "[0, 5]");
  EXPECT_ERROR(segment_attention(q, k, k, {0, 3, 2, 4}, 1.0f), ErrorKind::kInvalidData, "rise");
}

}  // namespace
}  // namespace fovea::kernels
