// Rotary position embedding from explicit tables, so that plain RoPE, M-RoPE and the 2-D kinds of
// vision towers are one kernel. Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

enum class RopeLayout {
  kHalves,       // element i is paired with element i + R: Hugging Face checkpoints
  kInterleaved,  // element 2 i is paired with element 2 i + 1: the original order
};

// x[T, H, D] with the cos and sin [T, R] of each row's angles, R <= D / 2: pair i turns by angle i,
// elements from 2 R on pass through. Shapes that do not fit are Error(kInvalidData).
mx::array rope(const mx::array& x_THD, const mx::array& cos_TR, const mx::array& sin_TR,
               RopeLayout layout = RopeLayout::kHalves);

}  // namespace fovea::kernels
