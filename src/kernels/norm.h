// Normalisation over the last axis, in float32. Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// x / sqrt(mean(x^2) + eps) * weight[D].
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps);

// (x - mean) / sqrt(variance + eps) * weight[D] + bias[D].
mx::array layer_norm(const mx::array& x, const mx::array& weight, const mx::array& bias, float eps);

}  // namespace fovea::kernels
