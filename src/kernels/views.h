// Other shapes and types for arrays, without a node of MLX's graph where the array is there
// already: a step that is computed at once (op.h) would wait for MLX at each. Engine thread only.
#pragma once

#include <vector>

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// As mx::reshape.
mx::array reshaped(const mx::array& x, mx::Shape shape);

// Rows [begin, end) of the first axis.
mx::array rows_of(const mx::array& x, int begin, int end);

// One behind another on the first axis, float32.
mx::array joined_rows(const std::vector<mx::array>& parts);

// The array itself where it is float32.
mx::array as_float32(const mx::array& x);

// The array itself where its elements lie one after another, as those of mapped weights do.
mx::array row_major(const mx::array& x);

}  // namespace fovea::kernels
