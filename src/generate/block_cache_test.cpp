#include <gtest/gtest.h>

#include "generate/cache/block_cache.h"
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

// A cache of one layer.
BlockCache::Options options(int max_kv_size = 0, int kv_bits = 0, int group = 64, int start = 0) {
  return {{{2, 8, mx::float32}}, max_kv_size, kv_bits, group, start};
}

mx::array attend(BlockCache& cache, int sequence, const mx::array& x, bool decode = false,
                 nn::AttentionSpec spec = {0.3f}) {
  const nn::Segment segment{sequence, 0, x.shape(0), decode};
  auto out = cache.attend(0, x, x, x, {&segment, 1}, spec);
  mx::eval(out);
  cache.keep_step();
  return out;
}

// One block of it.
constexpr int64_t kBlockBytes = 2 * 2 * kernels::kBlockRows * 8 * sizeof(float);

bool same(const mx::array& a, const mx::array& b) { return mx::array_equal(a, b).item<bool>(); }

mx::array rows(const mx::array& x, int begin, int end) {
  return mx::slice(x, {begin, 0, 0}, {end, 2, 8});
}

TEST(BlockCache, GrowsWithoutChangingAnswers) {
  const auto x = random(700, 1);
  BlockCache whole(options());
  const auto expected = attend(whole, whole.add_sequence(), x);
  BlockCache cache(options());
  const int sequence = cache.add_sequence();
  for (int at = 0; at < 700; at += 50) {
    const auto out = attend(cache, sequence, rows(x, at, at + 50));
    EXPECT_TRUE(mx::array_equal(out, rows(expected, at, at + 50)).item<bool>()) << at;
  }
  EXPECT_EQ(cache.length(sequence), 700);
}

TEST(BlockCache, KeepsBfloat16WhereTheLayerAsksForIt) {
  const auto x = random(300, 5);
  const nn::AttentionSpec spec{0.3f, 0, 0, mx::bfloat16};
  const BlockCache::Options halves{{{2, 8, mx::bfloat16}}};
  BlockCache whole(halves);
  const auto expected = attend(whole, whole.add_sequence(), x, false, spec);
  EXPECT_EQ(whole.bytes_in_use(), 3 * kBlockBytes / 2);
  BlockCache cache(halves);
  const int sequence = cache.add_sequence();
  for (int at = 0; at < 300; at += 60) {
    const auto out = attend(cache, sequence, rows(x, at, at + 60), false, spec);
    EXPECT_TRUE(same(out, rows(expected, at, at + 60))) << at;
  }

  // A row of an answer is exact over what the cache holds.
  const auto next = random(1, 6);
  const auto out = attend(cache, sequence, next, true, spec);
  const auto wide = [](const mx::array& a) { return mx::astype(a, mx::float32); };
  const auto kept =
      mx::concatenate({wide(mx::astype(x, mx::bfloat16)), wide(mx::astype(next, mx::bfloat16))}, 0);
  const auto by_head = mx::transpose(kept, {1, 0, 2});
  const auto exact = kernels::causal_attention(next, by_head, by_head, 300, {0.3f, 0, 0});
  EXPECT_TRUE(mx::allclose(out, exact, 1e-5, 1e-6).item<bool>());
}

TEST(BlockCache, KeepsEightBitsFromTheFirstRowOn) {
  const auto x = random(700, 7);
  const auto run = [&](int chunk) {
    BlockCache cache(options(0, 8, 32, 0));
    const int sequence = cache.add_sequence();
    std::vector<mx::array> parts;
    for (int at = 0; at < 700; at += chunk) {
      parts.push_back(attend(cache, sequence, rows(x, at, std::min(700, at + chunk))));
    }
    EXPECT_TRUE(cache.prefix(sequence).bytes);
    return mx::concatenate(parts, 0);
  };
  const auto whole = run(700);
  for (const int chunk : {1, 50, 300}) {
    EXPECT_TRUE(mx::array_equal(run(chunk), whole).item<bool>()) << chunk;
  }
  BlockCache plain(options());
  const auto exact = attend(plain, plain.add_sequence(), x);
  EXPECT_TRUE(mx::allclose(whole, exact, 2e-2, 2e-2).item<bool>());
  EXPECT_FALSE(mx::array_equal(whole, exact).item<bool>());
}

TEST(BlockCache, ChangesToEightBitsLaterAndStaysThere) {
  const auto x = random(60, 8);
  BlockCache cache(options(40, 8, 64, 20));
  BlockCache plain(options(40));
  const int a = cache.add_sequence();
  const int b = plain.add_sequence();
  for (int at = 0; at < 60; at += 10) {
    const auto out = attend(cache, a, rows(x, at, at + 10));
    const auto exact = attend(plain, b, rows(x, at, at + 10));
    EXPECT_TRUE(mx::allclose(out, exact, 2e-2, 2e-2).item<bool>()) << at;
    EXPECT_EQ(mx::array_equal(out, exact).item<bool>(), at < 20) << at;
  }
}

// As the engine computes generated tokens, through growth, the limit and the change to 8 bits.
TEST(BlockCache, ComputesAtOnceWithTheSameBits) {
  const auto x = random(320, 10);
  for (const auto& chosen :
       {options(), options(40), options(0, 8, 64, 290), options(40, 8, 64, 20)}) {
    BlockCache graph(chosen);
    BlockCache now(chosen);
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
TEST(BlockCache, HandsOnSpansChunksAndSinks) {
  const auto x = random(30, 9);
  const auto by_head = mx::transpose(x, {1, 0, 2});
  nn::AttentionSpec spec{0.3f, 0, 0};
  spec.chunk = 16;
  spec.sinks = mx::array({0.5f, -1.0f});
  const auto later_rows = [&](std::span<const TokenRun> spans) {
    BlockCache cache({{{2, 8, mx::float32, 0, 16}}});
    nn::Segment segment{cache.add_sequence(), 0, 4};
    const auto first = rows(x, 0, 4);
    mx::eval(cache.attend(0, first, first, first, {&segment, 1}, spec));
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

TEST(BlockCache, SequencesDoNotMix) {
  const auto x = random(20, 2);
  const auto y = random(20, 3);
  BlockCache cache(options());
  const int a = cache.add_sequence();
  const int b = cache.add_sequence();
  attend(cache, a, rows(x, 0, 10));
  attend(cache, b, rows(y, 0, 10));
  const nn::Segment segments[] = {{b, 0, 10}, {a, 10, 10}};
  const auto both = mx::concatenate({rows(y, 10, 20), rows(x, 10, 20)}, 0);
  const auto out = cache.attend(0, both, both, both, segments, {0.3f, 0, 0});
  BlockCache alone(options());
  const auto expected = attend(alone, alone.add_sequence(), x);
  EXPECT_TRUE(mx::array_equal(rows(out, 10, 20), rows(expected, 10, 20)).item<bool>());
  cache.remove_sequence(a);
  EXPECT_EQ(cache.sequence_count(), 1u);
}

// A cache with one layer of each kind and a sequence of 20 media states, the first five rows of
// which see all and are blind, row 5 the first 8, all later ones states 8 to 11.
struct Looking {
  explicit Looking(const BlockCache::Options& chosen = options()) : cache(chosen) {
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
  BlockCache cache;
  int sequence = 0;
};

TEST(BlockCache, RowsLookAtTheStatesOfTheirView) {
  const auto q = random(9, 23);
  Looking it;
  const nn::Segment segment{it.sequence, 0, 9};
  const auto looking = it.cache.looking_rows({&segment, 1});
  ASSERT_EQ(looking.size(), 3u);
  EXPECT_TRUE(looking[0].blind);
  EXPECT_FALSE(looking[2].blind);
  const auto out = it.across(q, looking);
  EXPECT_TRUE(same(rows(out, 0, 5), it.expected(rows(q, 0, 5), 0, 20)));
  EXPECT_TRUE(same(rows(out, 5, 6), it.expected(rows(q, 5, 6), 0, 8)));
  EXPECT_TRUE(same(rows(out, 6, 9), it.expected(rows(q, 6, 9), 8, 12)));

  // However the rows are cut, and whatever max_kv_size leaves of them.
  Looking cut(options(4));
  for (int at = 0; at < 9; ++at) {
    const nn::Segment one{cut.sequence, 0, 1, at == 8};
    const auto row = cut.cache.looking_rows({&one, 1});
    ASSERT_EQ(row.size(), 1u) << at;
    EXPECT_EQ(row[0].decode, at == 8);
    EXPECT_TRUE(same(cut.across(rows(q, at, at + 1), row), rows(out, at, at + 1))) << at;
    attend(cut.cache, cut.sequence, random(1, 24));
  }
}

TEST(BlockCache, StatesAreComputedAtOnceWithTheSameBits) {
  const auto q = random(3, 25);
  for (const auto& chosen : {options(), options(0, 8, 64, 20)}) {
    Looking graph(chosen);
    Looking now(chosen);
    attend(graph.cache, graph.sequence, random(6, 26));
    attend(now.cache, now.sequence, random(6, 26));
    const nn::Segment segment{graph.sequence, 0, 3, true};
    const auto looking = graph.cache.looking_rows({&segment, 1});
    const auto expected = graph.across(q, looking);
    const kernels::AtOnce scope;
    EXPECT_TRUE(mx::array_equal(now.across(q, looking), expected).item<bool>());
  }
}

TEST(BlockCache, KeepsStatesInEightBitsWhereThereAreEnough) {
  const auto q = random(2, 27);
  const auto dtype_at = [&](int start) {
    Looking it(options(0, 8, 32, start));
    const nn::Segment segment{it.sequence, 0, 2};
    const auto out = it.across(q, it.cache.looking_rows({&segment, 1}));
    EXPECT_TRUE(mx::allclose(out, it.expected(q, 0, 20), 2e-2, 2e-2).item<bool>());
    return it.cache.states()[0].dtype();
  };
  EXPECT_EQ(dtype_at(20), mx::uint8);
  EXPECT_EQ(dtype_at(21), mx::float32);
}

// A sequence without media among others, whose states leave with them.
TEST(BlockCache, StatesBelongToTheirSequence) {
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
  EXPECT_EQ(it.cache.states().size(), 4u);
  it.cache.remove_sequence(other);
  EXPECT_EQ(it.cache.states().size(), 2u);
}

TEST(BlockCache, KeepsTheFirstFourAndTheNewest) {
  const auto x = random(40, 4);
  BlockCache cache(options(10));
  const int sequence = cache.add_sequence();
  attend(cache, sequence, rows(x, 0, 30));
  const auto out = attend(cache, sequence, rows(x, 30, 31));
  EXPECT_EQ(cache.length(sequence), 31);
  EXPECT_EQ(cache.kept_rows(sequence), 10);
  // Nine older rows: the first four, then the newest five.
  BlockCache expected(options());
  const int other = expected.add_sequence();
  attend(expected, other, mx::concatenate({rows(x, 0, 4), rows(x, 25, 30)}, 0));
  const auto want = attend(expected, other, rows(x, 30, 31));
  EXPECT_TRUE(mx::allclose(out, want, 1e-6, 1e-6).item<bool>());
}

// However far a sequence goes, it has what it may see and no more.
TEST(BlockCache, ABoundedSequenceKeepsFewBlocks) {
  const auto x = random(700, 11);
  BlockCache cache(options(150));
  const int sequence = cache.add_sequence();
  for (int at = 0; at < 700; ++at) {
    const auto out = attend(cache, sequence, rows(x, at, at + 1), true);
    EXPECT_LE(cache.bytes_in_use(), 3 * kBlockBytes) << at;
    if (at % 100 != 99) continue;
    const auto older =
        at < 150 ? rows(x, 0, at) : mx::concatenate({rows(x, 0, 4), rows(x, at - 145, at)}, 0);
    BlockCache expected(options());
    const int other = expected.add_sequence();
    attend(expected, other, older);
    const auto want = attend(expected, other, rows(x, at, at + 1), true);
    EXPECT_TRUE(mx::allclose(out, want, 1e-5, 1e-6).item<bool>()) << at;
  }
}

nn::AttentionSpec windowed(int window) { return {0.3f, window}; }

TEST(BlockCache, LayersWithAWindowGiveBackWhatNobodySees) {
  const auto x = random(900, 12);
  BlockCache cache({{{2, 8, mx::float32}, {2, 8, mx::float32, 100}}});
  BlockCache whole({{{2, 8, mx::float32, 100}}});
  const auto expected = attend(whole, whole.add_sequence(), x, false, windowed(100));
  const int sequence = cache.add_sequence();
  for (int at = 0; at < 900; at += 50) {
    const auto step = rows(x, at, at + 50);
    const nn::Segment segment{sequence, 0, 50};
    cache.attend(0, step, step, step, {&segment, 1}, windowed(0));
    const auto out = cache.attend(1, step, step, step, {&segment, 1}, windowed(100));
    mx::eval({out, cache.step_output()});
    cache.keep_step();
    EXPECT_TRUE(same(out, rows(expected, at, at + 50))) << at;
    const int64_t of_all = (at + 50 + 127) / 128 * kBlockBytes;
    EXPECT_LE(cache.bytes_in_use(), of_all + 3 * kBlockBytes) << at;
  }
}

// Rows of one sequence are the beginning of another: shared where a block is whole.
TEST(BlockCache, SequencesBeginWithTheRowsOfOthers) {
  const auto x = random(400, 13);
  for (const auto& chosen : {options(), options(0, 8, 32, 0)}) {
    BlockCache alone(chosen);
    const auto expected = attend(alone, alone.add_sequence(), x);
    for (const int rows_taken : {1, 127, 128, 129, 300}) {
      BlockCache cache(chosen);
      const int first = cache.add_sequence();
      attend(cache, first, rows(x, 0, 300));
      auto prefix = cache.prefix(first);
      const auto before = cache.bytes_in_use();
      prefix.rows = rows_taken;
      for (auto& blocks : prefix.kinds)
        blocks.resize(static_cast<size_t>((rows_taken + 127) / 128));
      const int second = cache.add_sequence(prefix);
      prefix = {};
      EXPECT_EQ(cache.bytes_in_use() > before, rows_taken % 128 != 0);
      const auto out = attend(cache, second, rows(x, rows_taken, 400));
      EXPECT_TRUE(same(out, rows(expected, rows_taken, 400))) << rows_taken;
      // And neither writes what the other sees.
      const auto other = random(20, 14);
      attend(cache, first, other);
      const auto next = random(1, 15);
      const auto got = attend(cache, second, next, true);
      BlockCache again(chosen);
      const int third = again.add_sequence();
      attend(again, third, x);
      EXPECT_TRUE(same(got, attend(again, third, next, true))) << rows_taken;
      cache.remove_sequence(first);
      cache.remove_sequence(second);
      EXPECT_EQ(cache.bytes_in_use(), 0);
    }
  }
}

TEST(BlockCache, MovesTheFirstRowsIntoBlocksOfItsOwn) {
  const auto x = random(260, 16);
  BlockCache cache(options(200));
  const int first = cache.add_sequence();
  attend(cache, first, rows(x, 0, 150));
  const auto prefix = cache.prefix(first);
  const int second = cache.add_sequence(prefix);
  for (int at = 150; at < 260; ++at) attend(cache, first, rows(x, at, at + 1), true);
  EXPECT_EQ(cache.prefix(first).rows, 0);
  const auto got = attend(cache, second, rows(x, 150, 190));
  BlockCache alone(options(200));
  const int other = alone.add_sequence();
  attend(alone, other, rows(x, 0, 150));
  EXPECT_TRUE(same(got, attend(alone, other, rows(x, 150, 190))));
}

TEST(BlockCache, RefusesRowsThatItHasNoRoomFor) {
  auto bounded = options();
  bounded.bytes_max = 2 * kBlockBytes;
  BlockCache cache(bounded);
  const int sequence = cache.add_sequence();
  attend(cache, sequence, random(200, 17));
  EXPECT_THROW(attend(cache, sequence, random(100, 18)), NoRoom);
  cache.abandon_step();
  EXPECT_EQ(cache.length(sequence), 200);
  const int other = cache.add_sequence();
  int asked = 0;
  cache.set_make_room([&] {
    if (++asked > 1) return false;
    cache.remove_sequence(sequence);
    return true;
  });
  attend(cache, other, random(100, 19));
  EXPECT_EQ(asked, 1);
}

// Where there is no room to change to 8 bits, or to move the first rows, nothing has happened.
TEST(BlockCache, WhatDoesNotFitIsNotBegun) {
  const auto x = random(200, 22);
  for (auto chosen : {options(0, 8, 32, 150), options(150)}) {
    chosen.layers = {{2, 8, mx::float32}, {2, 8, mx::float32, 1000}};
    chosen.bytes_max = 4 * kBlockBytes;
    const auto step = [&](BlockCache& cache, int sequence, int begin, int end) {
      const nn::Segment segment{sequence, 0, end - begin};
      const auto some = rows(x, begin, end);
      cache.attend(0, some, some, some, {&segment, 1}, {0.3f});
      auto out = cache.attend(1, some, some, some, {&segment, 1}, windowed(1000));
      mx::eval({out, cache.step_output()});
      cache.keep_step();
      return out;
    };
    BlockCache cache(chosen);
    const int sequence = cache.add_sequence();
    step(cache, sequence, 0, 160);
    auto held = cache.prefix(sequence);  // so that changing it takes other blocks
    EXPECT_THROW(step(cache, sequence, 160, 170), NoRoom);
    cache.abandon_step();
    EXPECT_EQ(cache.length(sequence), 160);
    EXPECT_EQ(cache.prefix(sequence).bytes, false);
    held = {};
    chosen.bytes_max = 0;
    BlockCache other(chosen);
    const int same_rows = other.add_sequence();
    step(other, same_rows, 0, 160);
    if (chosen.kv_bits > 0) {
      cache.set_make_room([] { return false; });
      EXPECT_THROW(step(cache, sequence, 160, 170), NoRoom);  // two kinds are there at once
      continue;
    }
    EXPECT_TRUE(same(step(cache, sequence, 160, 170), step(other, same_rows, 160, 170)));
  }
}

TEST(BlockCache, AStepThatIsGivenUpLeavesNothing) {
  const auto x = random(150, 20);
  BlockCache cache({{{2, 8, mx::float32}, {2, 8, mx::float32}}});
  const int sequence = cache.add_sequence();
  const auto layer = [&](int number, int begin, int end) {
    const nn::Segment segment{sequence, 0, end - begin};
    const auto step = rows(x, begin, end);
    auto out = cache.attend(number, step, step, step, {&segment, 1}, {0.3f});
    mx::eval(out);
    return out;
  };
  layer(0, 0, 100);
  layer(1, 0, 100);
  cache.keep_step();
  cache.abandon_step();  // there is none
  EXPECT_EQ(cache.length(sequence), 100);
  for (const int layers : {1, 2}) {
    for (int i = 0; i < layers; ++i) layer(i, 0, 40);
    cache.abandon_step();
    EXPECT_EQ(cache.length(sequence), 100) << layers;
  }
  layer(0, 100, 150);
  const auto out = layer(1, 100, 150);
  BlockCache whole(options());
  EXPECT_TRUE(same(out, rows(attend(whole, whole.add_sequence(), x), 100, 150)));
}

TEST(BlockCache, TakesWhatIsEstimated) {
  for (const int length : {1, 128, 129, 700}) {
    for (const int window : {0, 50}) {
      const std::vector<nn::KvLayer> layers = {{2, 8, mx::float32, window}};
      BlockCache cache({layers});
      const int sequence = cache.add_sequence();
      int64_t most = 0;
      for (int at = 0; at < length; at += 64) {
        attend(cache, sequence, random(std::min(64, length - at), 21), false, windowed(window));
        most = std::max(most, cache.bytes_in_use());
      }
      const auto estimated = BlockCache::estimated_bytes(layers, length, 64, 0);
      EXPECT_LE(most, estimated) << length << ' ' << window;
      EXPECT_GE(most + kBlockBytes, estimated) << length << ' ' << window;
    }
  }
}

}  // namespace
}  // namespace fovea::generate
