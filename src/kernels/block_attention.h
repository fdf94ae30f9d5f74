// Attention to keys and values that lie in blocks, as a cache for many sequences keeps them: the
// rows of a step are appended to the blocks of their sequences and attended to, as one op. The bits
// are those of causal_attention. Engine thread only.
//
// A block holds kBlockRows rows of a sequence, of as many layers as its owner says: key j of a
// sequence is row j % kBlockRows of its block j / kBlockRows.
//
// Legend: T rows of a step, H heads, K key/value heads, D head size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/attention.h"

namespace fovea::kernels {

inline constexpr int kBlockRows = 128;

// How a layer lies in a block, from `offset` on: the keys of each head, kBlockRows rows one behind
// another, then the values in the same way.
struct BlockLayout {
  int heads = 0;
  int head_dim = 0;
  mx::Dtype dtype = mx::bfloat16;  // float32, bfloat16, or uint8 as in kv_bytes.h
  int group_size = 64;             // of uint8
  int64_t offset = 0;              // bytes

  int64_t row_bytes() const;
  int64_t bytes() const;  // of keys and values in one block
};

// Rows [begin, begin + count) of a step, which continue one sequence.
struct BlockRun {
  int begin = 0;
  int count = 0;
  int past = 0;        // keys before the first of them
  int first_seen = 0;  // no row sees a key before this one
  bool decode = false;
  std::vector<PositionSpan> spans = {};
  // For keys up to past + count; null where no row sees any of the block's.
  std::vector<std::byte*> blocks = {};
};

// The output [T, H, D] of all runs, which cover the step's rows in order. When it has been
// computed the blocks hold the rows of k_TKD and v_TKD; it must be computed once, before any later
// step of the same sequences, and `runs` must keep the blocks alive. `options` are for all runs,
// without mask, spans and decode. What does not fit is Error(kInvalidData). No gradient.
mx::array block_attention(const mx::array& q_THD, const mx::array& k_TKD, const mx::array& v_TKD,
                          std::shared_ptr<const std::vector<BlockRun>> runs,
                          const BlockLayout& layout, const AttentionOptions& options);

// Copies rows of a layer from one block to another, or within one.
void copy_block_rows(const BlockLayout& layout, const std::byte* from, int from_row, std::byte* to,
                     int to_row, int rows);

// Rounds the first rows of a layer to 8 bits: `bytes` is its layout in `to`.
void block_rows_to_bytes(const BlockLayout& layout, const std::byte* from, const BlockLayout& bytes,
                         std::byte* to, int rows);

}  // namespace fovea::kernels
