// Keys and values in 8 bits: about half the memory of bfloat16. A row of a head is rounded by
// groups, on its own when it is appended: value = code * scale + bias, where the bias is the
// group's smallest value and 255 scales span its range. The error is at most half a scale. Measured
// over normal values in groups of 64: 0.0054 of a deviation, and 0.036 in a group that has a
// channel of 30 deviations, as keys do. A group with a value that is not finite becomes NaN.
//
// A row of B = kv_row_bytes(D, group_size) bytes: D codes in whole 32s, then scale and bias in
// float32 of each group. Engine thread only.
//
// Legend: C capacity, K key/value heads, T rows, D head size, B bytes of a row.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// Groups are of 32, 64 or 128 elements; the last of a head may be shorter.
int kv_row_bytes(int head_dim, int group_size);

// append_rows (append_rows.h) for a buffer of bytes, uint8 [K, C, B].
mx::array append_kv_bytes(const mx::array& buffer_KCB, const mx::array& rows_TKD, int at,
                          int group_size);

// The values of rows [..., B], in float32 [..., D].
mx::array kv_from_bytes(const mx::array& rows, int head_dim, int group_size);

}  // namespace fovea::kernels
