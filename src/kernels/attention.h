// Attention without a score matrix in memory: online softmax over blocks of keys at absolute
// positions of the sequence (or segment), in one order. A row's bits do not depend on the rows
// beside it, on the segments before its own, nor on how its prompt was cut. Head sizes 1 to 256,
// any number of query heads per key head; queries and outputs are float32, and any of the arrays
// may be strided: heads whose elements lie together are read in place. What does not fit is
// Error(kInvalidData). Engine thread only.
//
// Two numerics. Exact: float32 throughout, over keys and values that may be stored in bfloat16 or
// in 8 bits, with the same bits on every instruction set; sums begin anew every 256 keys and are
// merged in order, so that threads can share the history of one row. Products in bfloat16: queries,
// keys, values and softmax weights are rounded to bfloat16 and summed in float32, within 2e-2 of
// the largest value; only where the processor has such instructions and numerics.h allows it, exact
// elsewhere.
//
// Legend: T query rows, S keys, C capacity of a key buffer, H heads, K key/value heads, D head
// size.
#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

enum class Products { kFloat32, kBFloat16 };

// Positions [begin, end) of a sequence.
struct PositionSpan {
  int begin = 0;
  int end = 0;
};

struct AttentionOptions {
  float scale = 1;
  int window = 0;     // keys that a row sees at most, itself included; 0 is all
  float softcap = 0;  // scores -> softcap * tanh(scores / softcap); 0 is off
  // Rows of generated tokens rather than of a prompt: exact whatever the buffers hold, unless
  // numerics.h asks for those of a prompt.
  bool decode = false;
  int chunk = 0;  // a row sees no key before the last multiple of this position; 0 is all
  // A row of a span sees all of the span too, the later rows included: pictures within a prompt.
  // Spans rise and do not overlap; the last key must not cut one.
  std::vector<PositionSpan> spans = {};
  // Added to scores after scale and cap: [T, S] or [H, T, S]. A row that it hides all keys from
  // (-inf) gives zeros.
  std::optional<mx::array> mask = {};
  // One more score for each head, [H], that takes its share of the weights and has no value.
  std::optional<mx::array> sinks = {};
  // For keys and values in 8 bits (kv_bytes.h): how many elements share a scale, and the products
  // of a prompt's rows.
  int kv_group_size = 64;
  Products products = Products::kBFloat16;
};

// Row i of q_THD stands at position past + i and sees keys [0, past + i] of the buffers, less what
// the options take and with what they add; S is past + T. Buffers in float32 are exact; in bfloat16
// the rows of a prompt have products in bfloat16; in 8 bits D is kv_row_bytes(). Rows of an answer
// read a buffer fastest when it is row-major, so that the keys of a head lie together.
mx::array causal_attention(const mx::array& q_THD, const mx::array& k_KCD, const mx::array& v_KCD,
                           int past, const AttentionOptions& options);

// Every row sees all keys, as far as the mask lets it. Window, chunk and spans are not for it.
// Numerics are those of causal attention.
mx::array cross_attention(const mx::array& q_THD, const mx::array& k_SKD, const mx::array& v_SKD,
                          const AttentionOptions& options);

// Rows see exactly the rows of their own segment: segment i is [cu_seqlens[i], cu_seqlens[i + 1]).
// cu_seqlens starts with 0, never falls, and ends with T. k and v are used as float32, or rounded
// for their products.
mx::array segment_attention(const mx::array& q_THD, const mx::array& k_THD, const mx::array& v_THD,
                            const std::vector<int>& cu_seqlens, float scale,
                            Products products = Products::kFloat32);

}  // namespace fovea::kernels
