#include "kernels/block_attention.h"

#include <gtest/gtest.h>

#include <map>

#include "kernels/append_rows.h"
#include "kernels/kv_bytes.h"
#include "kernels/op.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::expect_matches_fallback;
using testing::random;
using testing::rows;

constexpr int kHeads = 6;
constexpr int kKeyHeads = 2;

// Sequences whose rows are read from `q`, `k` and `v`, [sequence][row].
struct Source {
  Source(const std::vector<int>& lengths, int dim) {
    for (const int length : lengths) {
      q.push_back(random({length, kHeads, dim}));
      k.push_back(random({length, kKeyHeads, dim}));
      v.push_back(random({length, kKeyHeads, dim}));
    }
  }
  std::vector<mx::array> q;
  std::vector<mx::array> k;
  std::vector<mx::array> v;
};

// The same in blocks of memory of their own, which begin with what nobody may look at.
class Blocks {
 public:
  explicit Blocks(const BlockLayout& layout) : layout_(layout) {}

  std::vector<std::byte*> of(int sequence, int keys) {
    auto& blocks = memory_[sequence];
    while (static_cast<int>(blocks.size()) * kBlockRows < keys) {
      blocks.emplace_back(static_cast<size_t>(layout_.offset + layout_.bytes()), std::byte{0xff});
    }
    std::vector<std::byte*> pointers;
    for (auto& block : blocks) pointers.push_back(block.data());
    return pointers;
  }

 private:
  BlockLayout layout_;
  std::map<int, std::vector<std::vector<std::byte>>> memory_;
};

struct Rows {
  int sequence;
  int past;
  int count;
  bool decode = false;
  std::vector<PositionSpan> spans = {};
};

// One step.
mx::array step(const Source& source, Blocks& blocks, const std::vector<Rows>& all,
               const BlockLayout& layout, const AttentionOptions& options, int first_seen = 0) {
  std::vector<mx::array> q, k, v;
  auto runs = std::make_shared<std::vector<BlockRun>>();
  int begin = 0;
  for (const auto& one : all) {
    const auto s = static_cast<size_t>(one.sequence);
    const int end = one.past + one.count;
    q.push_back(rows(source.q[s], one.past, end));
    k.push_back(rows(source.k[s], one.past, end));
    v.push_back(rows(source.v[s], one.past, end));
    runs->push_back({begin, one.count, one.past, first_seen, one.decode, one.spans,
                     blocks.of(one.sequence, end)});
    begin += one.count;
  }
  auto out = block_attention(mx::concatenate(q, 0), mx::concatenate(k, 0), mx::concatenate(v, 0),
                             runs, layout, options);
  mx::eval(out);
  return out;
}

// causal_attention of one sequence's rows, over one buffer.
mx::array expected(const Source& source, const Rows& one, const BlockLayout& layout,
                   AttentionOptions options) {
  const auto s = static_cast<size_t>(one.sequence);
  const int end = one.past + one.count;
  const auto buffer = [&](const mx::array& all) {
    const auto elements = layout.row_bytes() / mx::size_of(layout.dtype);
    const auto empty = mx::zeros({kKeyHeads, end, static_cast<int>(elements)}, layout.dtype);
    return layout.dtype == mx::uint8
               ? append_kv_bytes(empty, rows(all, 0, end), 0, layout.group_size)
               : append_rows(empty, rows(all, 0, end), 0);
  };
  options.kv_group_size = layout.group_size;
  options.decode = one.decode;
  options.spans = one.spans;
  return causal_attention(rows(source.q[s], one.past, end), buffer(source.k[s]),
                          buffer(source.v[s]), one.past, options);
}

struct Kind {
  const char* name;
  AttentionOptions options;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all = {{"plain", {0.2f}},
                           {"window", {0.2f, 40}},
                           {"cap", {0.2f, 0, 5}},
                           {"chunk", {0.2f}},
                           {"sinks", {0.2f}}};
  all[3].options.chunk = 150;
  all[4].options.sinks = random({kHeads});
  return all;
}

// Prompts in chunks beside rows of answers, over the edges of blocks.
TEST(BlockAttention, HasTheBitsOfSequencesAlone) {
  const std::vector<std::vector<Rows>> steps = {
      {{0, 0, 300}, {1, 0, 128}, {2, 0, 5}},
      {{1, 128, 1}, {3, 0, 1}, {0, 300, 1, true}, {2, 5, 1, true}},
      {{1, 129, 128, false, {{130, 140}}}, {3, 1, 255}, {0, 301, 1, true}, {2, 6, 1, true}},
      {{0, 302, 1, true}, {1, 257, 1, true}, {2, 7, 1, true}, {3, 256, 1, true}},
      {{0, 303, 12, true}},
  };
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::uint8}) {
    for (const int dim : {20, 64, 128}) {
      const Source source({400, 400, 400, 400}, dim);
      const BlockLayout layout{kKeyHeads, dim, dtype, 32, 192};
      for (const auto& kind : kinds()) {
        Blocks blocks(layout);
        for (const auto& one_step : steps) {
          const auto out = step(source, blocks, one_step, layout, kind.options);
          int begin = 0;
          for (const auto& one : one_step) {
            const auto what = fmt::format("{} dim {} bytes {} sequence {} row {}", kind.name, dim,
                                          mx::size_of(dtype), one.sequence, one.past);
            expect_equal_bits(rows(out, begin, begin + one.count),
                              expected(source, one, layout, kind.options), what);
            begin += one.count;
          }
        }
      }
    }
  }
}

TEST(BlockAttention, IsComputedAtOnceWithTheSameBits) {
  const Source source({200, 600}, 64);
  const BlockLayout layout{kKeyHeads, 64, mx::bfloat16, 64, 0};
  Blocks graph(layout);
  Blocks now(layout);
  for (auto* blocks : {&graph, &now})
    step(source, *blocks, {{0, 0, 128}, {1, 0, 580}}, layout, {0.2f});
  for (int i = 0; i < 20; ++i) {
    const std::vector<Rows> one_step = {{0, 128 + i, 1, true}, {1, 580 + i, 1, true}};
    const auto later = step(source, graph, one_step, layout, {0.2f});
    const AtOnce at_once;
    expect_equal_bits(step(source, now, one_step, layout, {0.2f}), later, fmt::format("{}", i));
  }
}

TEST(BlockAttention, MatchesTheFallback) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::uint8}) {
    const Source source({300, 140}, 64);
    const BlockLayout layout{kKeyHeads, 64, dtype, 64, 64};
    for (const auto& kind : kinds()) {
      Blocks blocks(layout);
      step(source, blocks, {{0, 0, 200}, {1, 0, 130}}, layout, kind.options);
      expect_matches_fallback(
          [&] {
            return step(source, blocks, {{0, 200, 50}, {1, 130, 1, true}}, layout, kind.options);
          },
          kind.name);
    }
  }
}

// Blocks that a window has left behind are gone.
TEST(BlockAttention, LooksAtNoBlockBeforeTheWindow) {
  const Source source({500}, 64);
  const BlockLayout layout{kKeyHeads, 64, mx::bfloat16, 64, 0};
  const AttentionOptions options{0.2f, 100};
  Blocks blocks(layout);
  step(source, blocks, {{0, 0, 400}}, layout, options);
  for (const auto& one : {Rows{0, 400, 50}, Rows{0, 450, 1, true}}) {
    auto pointers = blocks.of(0, one.past + one.count);
    pointers[0] = pointers[1] = nullptr;
    auto runs = std::make_shared<std::vector<BlockRun>>();
    runs->push_back({0, one.count, one.past, 0, one.decode, {}, pointers});
    const auto of_step = [&](const mx::array& all) {
      return rows(all, one.past, one.past + one.count);
    };
    const auto op = [&] {
      return block_attention(of_step(source.q[0]), of_step(source.k[0]), of_step(source.v[0]), runs,
                             layout, options);
    };
    expect_equal_bits(op(), expected(source, one, layout, options), "window");
    expect_matches_fallback(op, "window");
  }
}

TEST(BlockAttention, RowsSeeNoKeyBeforeTheFirstSeen) {
  const Source source({200}, 64);
  const BlockLayout layout{kKeyHeads, 64, mx::float32, 64, 0};
  Blocks blocks(layout);
  step(source, blocks, {{0, 0, 199}}, layout, {0.2f});
  const auto out = step(source, blocks, {{0, 199, 1, true}}, layout, {0.2f}, 150);
  const auto windowed = expected(source, {0, 199, 1, true}, layout, {0.2f, 50});
  expect_equal_bits(out, windowed, "the last 50");
}

TEST(BlockAttention, RowsAreCopiedAndRounded) {
  const Source source({300}, 64);
  const BlockLayout layout{kKeyHeads, 64, mx::bfloat16, 64, 64};
  Blocks blocks(layout);
  step(source, blocks, {{0, 0, 200}}, layout, {0.2f});
  const auto from = blocks.of(0, 200);
  const auto to = blocks.of(1, 300);
  copy_block_rows(layout, from[0], 0, to[0], 0, kBlockRows);
  copy_block_rows(layout, from[1], 0, to[1], 0, 72);
  Source same = source;
  same.q.push_back(source.q[0]);
  same.k.push_back(source.k[0]);
  same.v.push_back(source.v[0]);
  expect_equal_bits(step(same, blocks, {{1, 200, 60}}, layout, {0.2f}),
                    step(same, blocks, {{0, 200, 60}}, layout, {0.2f}), "copied");

  // What was kept in bfloat16, in 8 bits.
  const BlockLayout bytes{kKeyHeads, 64, mx::uint8, 32, 0};
  Blocks rounded(bytes);
  const auto small = rounded.of(0, 200);
  block_rows_to_bytes(layout, from[0], bytes, small[0], kBlockRows);
  block_rows_to_bytes(layout, from[1], bytes, small[1], 72);
  Source halves = source;
  const auto as_kept = [](const mx::array& x) {
    return mx::concatenate(
        {mx::astype(mx::astype(rows(x, 0, 200), mx::bfloat16), mx::float32), rows(x, 200, 300)}, 0);
  };
  halves.k[0] = as_kept(source.k[0]);
  halves.v[0] = as_kept(source.v[0]);
  expect_equal_bits(step(halves, rounded, {{0, 200, 60}}, bytes, {0.2f}),
                    expected(halves, {0, 200, 60}, bytes, {0.2f}), "rounded");
}

TEST(BlockAttention, RefusesWhatDoesNotFit) {
  const Source source({300}, 64);
  const BlockLayout layout{kKeyHeads, 64, mx::bfloat16, 64, 0};
  Blocks blocks(layout);
  const auto run = [&](BlockRun one, const BlockLayout& of) {
    auto runs = std::make_shared<std::vector<BlockRun>>();
    runs->push_back(std::move(one));
    return block_attention(rows(source.q[0], 0, 2), rows(source.k[0], 0, 2),
                           rows(source.v[0], 0, 2), runs, of, {0.2f});
  };
  EXPECT_ERROR(run({0, 2, 127, 0, false, {}, blocks.of(0, 128)}, layout), ErrorKind::kInvalidData,
               "with 2 blocks");
  EXPECT_ERROR(run({0, 1, 0, 0, false, {}, blocks.of(0, 128)}, layout), ErrorKind::kInvalidData,
               "runs of 2 rows");
  EXPECT_ERROR(run({1, 2, 0, 0, false, {}, blocks.of(0, 128)}, layout), ErrorKind::kInvalidData,
               "from row 0");
  BlockLayout other = layout;
  other.heads = 4;
  EXPECT_ERROR(run({0, 2, 0, 0, false, {}, blocks.of(0, 128)}, other), ErrorKind::kInvalidData,
               "[T, 4, 64]");
}

}  // namespace
}  // namespace fovea::kernels
