// The rows of an answer of several sequences, one each: appended to the keys and values of their
// sequence and attended to, as one op instead of three for each sequence. The bits are those of
// append_rows and causal_attention. Engine thread only.
//
// Legend: T rows, one a sequence; C capacity of a buffer, H heads, K key/value heads, D head size.
#pragma once

#include <span>

#include "kernels/attention.h"

namespace fovea::kernels {

// What a sequence has: `past` keys, in buffers as append_rows.h and kv_bytes.h have them, with room
// for one more.
struct DecodeSequence {
  mx::array k_KCD;
  mx::array v_KCD;
  int past = 0;
};

// Row i of the result [T, H, D] is that of sequences[i], whose buffers then hold row i of k_TKD and
// v_TKD as key `past`: in place, as append_rows does it. `options` are for all, without a mask or
// spans. What does not fit is Error(kInvalidData).
mx::array decode_attention(const mx::array& q_THD, const mx::array& k_TKD, const mx::array& v_TKD,
                           std::span<DecodeSequence> sequences, const AttentionOptions& options);

}  // namespace fovea::kernels
