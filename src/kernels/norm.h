// Normalisation over the last axis, in float32; weights of any float type. A weight of another size
// is Error(kInvalidData). Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// x / sqrt(mean(x^2) + eps) * (weight[D] + weight_offset). The offset is 1 in checkpoints that
// store their weights around zero (Gemma).
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps, float weight_offset = 0);

// The same norm for ops that begin with one (projection.h).
struct RowNorm {
  mx::array weight;
  float eps = 0;
  float weight_offset = 0;
};
// Its weight as such an op's input: float32 [D] of x[..., D].
mx::array checked_norm_weight(const mx::array& x, const mx::array& weight);
// On all threads, of x [rows, n].
void rms_norm_rows(const float* x, int rows, int n, const float* weight, float weight_offset,
                   float eps, float* y);

// (x - mean) / sqrt(variance + eps) * weight[D] + bias[D].
mx::array layer_norm(const mx::array& x, const mx::array& weight, const mx::array& bias, float eps);

}  // namespace fovea::kernels
