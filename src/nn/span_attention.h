// Attention of rows that all see each other, such as a picture's within a prompt, in plain MLX ops.
// Engine thread only.
//
// Legend: T rows, C capacity of a key buffer, H heads, K key/value heads, D head size.
#pragma once

#include "nn/kv_cache.h"

namespace fovea::nn {

// Rows q_THD stand at [past, past + T) of the buffers and see keys [0, past + T), as far as
// spec.window lets them look back. Returns [T, H, D].
mx::array span_attention(const mx::array& q_THD, const mx::array& k_CKD, const mx::array& v_CKD,
                         int past, const AttentionSpec& spec);

}  // namespace fovea::nn
