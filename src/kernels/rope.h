// Rotary position embedding from explicit tables, so that plain RoPE, M-RoPE and the 2-D kinds of
// vision towers are one kernel. Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// x[T, H, D] with cos and sin [T, R], R <= D / 2: element i is paired with element i + R ("halves",
// the layout of Hugging Face checkpoints); elements from 2 R on pass through.
mx::array rope(const mx::array& x_THD, const mx::array& cos_TR, const mx::array& sin_TR);

}  // namespace fovea::kernels
