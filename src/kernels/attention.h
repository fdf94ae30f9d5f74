// Attention without a score matrix in memory: online softmax over blocks of 64 keys at absolute
// positions of the sequence (or segment), in one order. A row's bits do not depend on the rows
// beside it, on the segments before its own, nor on how its prompt was cut. Head sizes 1 to 256,
// any number of query heads per key head, float32 inside and out. What does not fit is
// Error(kInvalidData). Engine thread only.
//
// Legend: T query rows, S keys, C capacity of a key buffer, H heads, K key/value heads, D head
// size.
#pragma once

#include <vector>

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

struct AttentionOptions {
  float scale = 1;
  int window = 0;     // keys that a row sees at most, itself included; 0 is all
  float softcap = 0;  // scores -> softcap * tanh(scores / softcap); 0 is off
};

// Row i of q_THD stands at position past + i and sees keys [0, past + i] of the buffers.
mx::array causal_attention(const mx::array& q_THD, const mx::array& k_CKD, const mx::array& v_CKD,
                           int past, const AttentionOptions& options);

// Rows see exactly the rows of their own segment: segment i is [cu_seqlens[i], cu_seqlens[i + 1]).
// cu_seqlens starts with 0, never falls, and ends with T.
mx::array segment_attention(const mx::array& q_THD, const mx::array& k_THD, const mx::array& v_THD,
                            const std::vector<int>& cu_seqlens, float scale);

// Writes rows_TKD into the float32 buffer_CKD from row `at` on, in place: the result shares the
// buffer's memory, and whoever still holds the old buffer sees the new rows too. T + at <= C. A
// buffer that is not row-major is copied first. No gradient.
mx::array append_rows(const mx::array& buffer_CKD, const mx::array& rows_TKD, int at);

}  // namespace fovea::kernels
