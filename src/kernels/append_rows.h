// How a cache grows: rows of keys or values written into a buffer in place. Engine thread only.
//
// Legend: T rows, C capacity of the buffer, K key/value heads, D head size.
#pragma once

#include <cstddef>

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// Writes rows_TKD into buffer_KCD (float32 or bfloat16, to which rows are rounded: nearest, halves
// to even) from key `at` on, in place: the result shares the buffer's memory, and whoever still
// holds the old buffer sees the new rows too. T + at <= C; what does not fit is
// Error(kInvalidData). A buffer that is not row-major is copied first. No gradient.
mx::array append_rows(const mx::array& buffer_KCD, const mx::array& rows_TKD, int at);

// One row of one head as a buffer of this dtype has it, uint8 (kv_bytes.h) among them.
void write_kv_row(const float* row, int dim, mx::Dtype dtype, int group_size, std::byte* to);

}  // namespace fovea::kernels
