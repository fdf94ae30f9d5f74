// Normalisation over the last axis, in float32; weights of any float type. A weight of another size
// is Error(kInvalidData). Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// x / sqrt(mean(x^2) + eps) * (weight[D] + weight_offset). The offset is 1 in checkpoints that
// store their weights around zero (Gemma).
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps, float weight_offset = 0);

// (x - mean) / sqrt(variance + eps) * weight[D] + bias[D].
mx::array layer_norm(const mx::array& x, const mx::array& weight, const mx::array& bias, float eps);

}  // namespace fovea::kernels
