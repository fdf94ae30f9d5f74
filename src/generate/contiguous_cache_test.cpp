#include <gtest/gtest.h>

#include "generate/cache/contiguous_cache.h"
#include "kernels/attention.h"
#include "kernels/op.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace fovea::generate {
namespace {

mx::array random(int rows, uint64_t seed) {
  return mx::random::normal({rows, 2, 8}, mx::float32, mx::random::key(seed));
}

mx::array attend(ContiguousCache& cache, int sequence, const mx::array& x) {
  const nn::Segment segment{sequence, 0, x.shape(0)};
  auto out = cache.attend(0, x, x, x, {&segment, 1}, {0.3f, 0, 0});
  mx::eval(out);
  return out;
}

mx::array rows(const mx::array& x, int begin, int end) {
  return mx::slice(x, {begin, 0, 0}, {end, 2, 8});
}

TEST(ContiguousCache, GrowsWithoutChangingAnswers) {
  const auto x = random(700, 1);
  ContiguousCache whole({1, 0});
  const auto expected = attend(whole, whole.add_sequence(), x);
  ContiguousCache cache({1, 0});
  const int sequence = cache.add_sequence();
  for (int at = 0; at < 700; at += 50) {
    const auto out = attend(cache, sequence, rows(x, at, at + 50));
    EXPECT_TRUE(mx::array_equal(out, rows(expected, at, at + 50)).item<bool>()) << at;
  }
  EXPECT_EQ(cache.length(sequence), 700);
}

TEST(ContiguousCache, KeepsBfloat16WhereTheLayerAsksForIt) {
  const auto x = random(300, 5);
  nn::AttentionSpec spec{0.3f, 0, 0, mx::bfloat16};
  const auto attend_rows = [&](ContiguousCache& cache, const nn::Segment& segment,
                               const mx::array& some) {
    auto out = cache.attend(0, some, some, some, {&segment, 1}, spec);
    mx::eval(out);
    return out;
  };
  ContiguousCache whole({1, 0});
  const int all = whole.add_sequence();
  const auto expected = attend_rows(whole, {all, 0, 300}, x);
  ContiguousCache cache({1, 0});
  const int sequence = cache.add_sequence();
  for (int at = 0; at < 300; at += 60) {
    const auto out = attend_rows(cache, {sequence, 0, 60}, rows(x, at, at + 60));
    EXPECT_TRUE(mx::array_equal(out, rows(expected, at, at + 60)).item<bool>()) << at;
  }
  for (const auto& buffer : cache.buffers()) EXPECT_EQ(buffer.dtype(), mx::bfloat16);

  // A row of an answer is exact over what the cache holds.
  const auto next = random(1, 6);
  const auto out = attend_rows(cache, {sequence, 0, 1, true}, next);
  const auto wide = [](const mx::array& a) { return mx::astype(a, mx::float32); };
  const auto kept =
      mx::concatenate({wide(mx::astype(x, mx::bfloat16)), wide(mx::astype(next, mx::bfloat16))}, 0);
  const auto by_head = mx::transpose(kept, {1, 0, 2});
  const auto exact = kernels::causal_attention(next, by_head, by_head, 300, {0.3f, 0, 0});
  EXPECT_TRUE(mx::allclose(out, exact, 1e-5, 1e-6).item<bool>());
}

TEST(ContiguousCache, KeepsEightBitsFromTheFirstRowOn) {
  const auto x = random(700, 7);
  const auto run = [&](int chunk) {
    ContiguousCache cache({1, 0, 8, 32, 0});
    const int sequence = cache.add_sequence();
    std::vector<mx::array> parts;
    for (int at = 0; at < 700; at += chunk) {
      parts.push_back(attend(cache, sequence, rows(x, at, std::min(700, at + chunk))));
    }
    for (const auto& buffer : cache.buffers()) EXPECT_EQ(buffer.dtype(), mx::uint8);
    return mx::concatenate(parts, 0);
  };
  const auto whole = run(700);
  for (const int chunk : {1, 50, 300}) {
    EXPECT_TRUE(mx::array_equal(run(chunk), whole).item<bool>()) << chunk;
  }
  ContiguousCache plain({1, 0});
  const auto exact = attend(plain, plain.add_sequence(), x);
  EXPECT_TRUE(mx::allclose(whole, exact, 2e-2, 2e-2).item<bool>());
  EXPECT_FALSE(mx::array_equal(whole, exact).item<bool>());
}

TEST(ContiguousCache, ChangesToEightBitsLaterAndStaysThere) {
  const auto x = random(60, 8);
  ContiguousCache cache({1, 40, 8, 64, 20});
  ContiguousCache plain({1, 40});
  const int a = cache.add_sequence();
  const int b = plain.add_sequence();
  for (int at = 0; at < 60; at += 10) {
    const auto out = attend(cache, a, rows(x, at, at + 10));
    const auto exact = attend(plain, b, rows(x, at, at + 10));
    const auto dtype = at < 20 ? mx::float32 : mx::uint8;
    for (const auto& buffer : cache.buffers()) EXPECT_EQ(buffer.dtype(), dtype) << at;
    EXPECT_TRUE(mx::allclose(out, exact, 2e-2, 2e-2).item<bool>()) << at;
    EXPECT_EQ(mx::array_equal(out, exact).item<bool>(), at < 20) << at;
  }
}

// As the engine computes generated tokens, through growth, the limit and the change to 8 bits.
TEST(ContiguousCache, ComputesAtOnceWithTheSameBits) {
  using Options = ContiguousCache::Options;
  const auto x = random(320, 10);
  for (const Options& options : {Options{1, 0}, {1, 40}, {1, 0, 8, 64, 290}, {1, 40, 8, 64, 20}}) {
    ContiguousCache graph(options);
    ContiguousCache now(options);
    const int a = graph.add_sequence();
    const int b = now.add_sequence();
    attend(graph, a, rows(x, 0, 250));
    attend(now, b, rows(x, 0, 250));
    for (int at = 250; at < 320; ++at) {
      const auto expected = attend(graph, a, rows(x, at, at + 1));
      const kernels::AtOnce scope;
      const auto out = attend(now, b, rows(x, at, at + 1));
      ASSERT_TRUE(mx::array_equal(out, expected).item<bool>()) << at;
    }
  }
}

// What families ask of a layer arrives at the kernel; spans are counted from the segment's first
// row.
TEST(ContiguousCache, HandsOnSpansChunksAndSinks) {
  const auto x = random(30, 9);
  const auto by_head = mx::transpose(x, {1, 0, 2});
  nn::AttentionSpec spec{0.3f, 0, 0};
  spec.chunk = 16;
  spec.sinks = mx::array({0.5f, -1.0f});
  const auto later_rows = [&](std::span<const TokenRun> spans) {
    ContiguousCache cache({1, 0});
    nn::Segment segment{cache.add_sequence(), 0, 4};
    const auto first = rows(x, 0, 4);
    cache.attend(0, first, first, first, {&segment, 1}, spec);
    segment.count = 26;
    segment.spans = spans;
    const auto later = rows(x, 4, 30);
    return cache.attend(0, later, later, later, {&segment, 1}, spec);
  };
  const TokenRun span{3, 6};
  const auto out = later_rows({&span, 1});
  kernels::AttentionOptions options{0.3f, 0, 0};
  options.spans = {{7, 13}};
  options.chunk = 16;
  options.sinks = spec.sinks;
  const auto expected = kernels::causal_attention(rows(x, 4, 30), by_head, by_head, 4, options);
  EXPECT_TRUE(mx::array_equal(out, expected).item<bool>());
  EXPECT_FALSE(mx::array_equal(out, later_rows({})).item<bool>());
}

TEST(ContiguousCache, CapacityIsWhatTheBuffersGrowTo) {
  constexpr struct {
    int first, length, expected;
  } kCases[] = {{10, 20, 0},   {10, 256, 0},   {10, 257, 0},
                {300, 301, 0}, {10, 400, 300}, {1, 2, 270}};
  for (const auto& [first, length, expected] : kCases) {
    ContiguousCache cache({1, 0});
    const int sequence = cache.add_sequence(expected);
    attend(cache, sequence, random(first, 1));
    for (int at = first; at < length; ++at) attend(cache, sequence, random(1, 2));
    for (const auto& buffer : cache.buffers()) {
      EXPECT_EQ(buffer.shape(1), ContiguousCache::capacity(first, length, expected, 0)) << length;
    }
  }
}

TEST(ContiguousCache, SequencesDoNotMix) {
  const auto x = random(20, 2);
  const auto y = random(20, 3);
  ContiguousCache cache({1, 0});
  const int a = cache.add_sequence();
  const int b = cache.add_sequence();
  attend(cache, a, rows(x, 0, 10));
  attend(cache, b, rows(y, 0, 10));
  const nn::Segment segments[] = {{b, 0, 10}, {a, 10, 10}};
  const auto both = mx::concatenate({rows(y, 10, 20), rows(x, 10, 20)}, 0);
  const auto out = cache.attend(0, both, both, both, segments, {0.3f, 0, 0});
  ContiguousCache alone({1, 0});
  const auto expected = attend(alone, alone.add_sequence(), x);
  EXPECT_TRUE(mx::array_equal(rows(out, 10, 20), rows(expected, 10, 20)).item<bool>());
  cache.remove_sequence(a);
  EXPECT_EQ(cache.sequence_count(), 1u);
}

// A cache with one layer of each kind and a sequence of 20 media states, the first five rows of
// which see all and are blind, row 5 the first 8, all later ones states 8 to 11.
struct Looking {
  explicit Looking(const ContiguousCache::Options& options = {1, 0}) : cache(options) {
    sequence = cache.add_sequence();
    cache.set_views(sequence, {{0, {0, 20}, true}, {5, {0, 8}}, {6, {8, 4}}});
    cache.keep_states(0, sequence, keys, values, spec);
  }

  mx::array across(const mx::array& q, std::span<const nn::LookingRows> looking) {
    auto out = cache.attend_across(0, q, looking, spec);
    mx::eval(out);
    return out;
  }
  mx::array expected(const mx::array& q, int begin, int end) const {
    return kernels::cross_attention(q, rows(keys, begin, end), rows(values, begin, end), {0.3f});
  }

  nn::AttentionSpec spec{0.3f, 0, 0};
  mx::array keys = random(20, 21);
  mx::array values = random(20, 22);
  ContiguousCache cache;
  int sequence = 0;
};

TEST(ContiguousCache, RowsLookAtTheStatesOfTheirView) {
  const auto q = random(9, 23);
  Looking it;
  const nn::Segment segment{it.sequence, 0, 9};
  const auto looking = it.cache.looking_rows({&segment, 1});
  ASSERT_EQ(looking.size(), 3u);
  EXPECT_TRUE(looking[0].blind);
  EXPECT_FALSE(looking[2].blind);
  const auto out = it.across(q, looking);
  const auto same = [](const mx::array& a, const mx::array& b) {
    return mx::array_equal(a, b).item<bool>();
  };
  EXPECT_TRUE(same(rows(out, 0, 5), it.expected(rows(q, 0, 5), 0, 20)));
  EXPECT_TRUE(same(rows(out, 5, 6), it.expected(rows(q, 5, 6), 0, 8)));
  EXPECT_TRUE(same(rows(out, 6, 9), it.expected(rows(q, 6, 9), 8, 12)));

  // However the rows are cut, and whatever max_kv_size leaves of them.
  Looking cut({1, 4});
  for (int at = 0; at < 9; ++at) {
    const nn::Segment one{cut.sequence, 0, 1, at == 8};
    const auto row = cut.cache.looking_rows({&one, 1});
    ASSERT_EQ(row.size(), 1u) << at;
    EXPECT_EQ(row[0].decode, at == 8);
    EXPECT_TRUE(same(cut.across(rows(q, at, at + 1), row), rows(out, at, at + 1))) << at;
    attend(cut.cache, cut.sequence, random(1, 24));
  }
}

TEST(ContiguousCache, StatesAreComputedAtOnceWithTheSameBits) {
  const auto q = random(3, 25);
  for (const auto& options : {ContiguousCache::Options{1, 0}, {1, 0, 8, 64, 20}}) {
    Looking graph(options);
    Looking now(options);
    attend(graph.cache, graph.sequence, random(6, 26));
    attend(now.cache, now.sequence, random(6, 26));
    const nn::Segment segment{graph.sequence, 0, 3, true};
    const auto looking = graph.cache.looking_rows({&segment, 1});
    const auto expected = graph.across(q, looking);
    const kernels::AtOnce scope;
    EXPECT_TRUE(mx::array_equal(now.across(q, looking), expected).item<bool>());
  }
}

TEST(ContiguousCache, KeepsStatesInEightBitsWhereThereAreEnough) {
  const auto q = random(2, 27);
  const auto dtype_at = [&](int start) {
    Looking it({1, 0, 8, 32, start});
    const nn::Segment segment{it.sequence, 0, 2};
    const auto out = it.across(q, it.cache.looking_rows({&segment, 1}));
    EXPECT_TRUE(mx::allclose(out, it.expected(q, 0, 20), 2e-2, 2e-2).item<bool>());
    return it.cache.buffers()[0].dtype();
  };
  EXPECT_EQ(dtype_at(20), mx::uint8);
  EXPECT_EQ(dtype_at(21), mx::float32);
}

// A sequence without media among others, whose states leave with them.
TEST(ContiguousCache, StatesBelongToTheirSequence) {
  Looking it;
  const int plain = it.cache.add_sequence();
  const int other = it.cache.add_sequence();
  it.cache.set_views(other, {{0, {0, 20}}});
  it.cache.keep_states(0, other, it.values, it.keys, it.spec);
  const nn::Segment segments[] = {{plain, 0, 2}, {it.sequence, 2, 1}, {other, 3, 2}};
  const auto looking = it.cache.looking_rows(segments);
  ASSERT_EQ(looking.size(), 2u);
  EXPECT_EQ(looking[0].begin, 2);
  EXPECT_EQ(looking[1].begin, 3);
  const auto q = random(3, 28);
  const auto out = it.across(q, looking);
  EXPECT_TRUE(mx::array_equal(rows(out, 0, 1), it.expected(rows(q, 0, 1), 0, 20)).item<bool>());
  const auto swapped = kernels::cross_attention(rows(q, 1, 3), it.values, it.keys, {0.3f});
  EXPECT_TRUE(mx::array_equal(rows(out, 1, 3), swapped).item<bool>());
  EXPECT_EQ(it.cache.buffers().size(), 4u);
  it.cache.remove_sequence(other);
  EXPECT_EQ(it.cache.buffers().size(), 2u);
}

TEST(ContiguousCache, KeepsTheFirstFourAndTheNewest) {
  const auto x = random(40, 4);
  ContiguousCache cache({1, 10});
  const int sequence = cache.add_sequence();
  attend(cache, sequence, rows(x, 0, 30));
  const auto out = attend(cache, sequence, rows(x, 30, 31));
  EXPECT_EQ(cache.length(sequence), 10);
  // Nine older rows: the first four, then the newest five.
  ContiguousCache expected({1, 0});
  const int other = expected.add_sequence();
  attend(expected, other, mx::concatenate({rows(x, 0, 4), rows(x, 25, 30)}, 0));
  const auto want = attend(expected, other, rows(x, 30, 31));
  EXPECT_TRUE(mx::allclose(out, want, 1e-6, 1e-6).item<bool>());
}

TEST(ContiguousCache, MakesRoomForWhatIsExpected) {
  const auto rows_of = [](const ContiguousCache& cache) { return cache.buffers()[0].shape(1); };
  ContiguousCache cache({1, 0});
  const int sequence = cache.add_sequence(1000);
  attend(cache, sequence, random(10, 1));
  EXPECT_EQ(rows_of(cache), 1000);
  attend(cache, sequence, random(990, 2));
  EXPECT_EQ(rows_of(cache), 1000);
  attend(cache, sequence, random(1, 3));
  EXPECT_EQ(rows_of(cache), 1001 + 256);  // and grows by a stretch, not by what it has
  ContiguousCache bounded({1, 300});
  attend(bounded, bounded.add_sequence(1000), random(10, 1));
  EXPECT_EQ(rows_of(bounded), 300);
}

}  // namespace
}  // namespace fovea::generate
