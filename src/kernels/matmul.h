// Products with weights stored [out, in] as checkpoints have them, float32 in and out. How exact
// they are in between is told by numerics.h; sums run in an order that depends on K and on how the
// weight is stored: a row of x gives the same bits whatever rows of its kind stand beside it.
// Engine thread only.
//
// Legend: M rows, K inputs, N outputs.
#pragma once

#include <optional>

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// x[..., K] * w[N, K]^T (+ bias[N]) -> [..., N]. w is float32, bfloat16 or float16.
mx::array matmul(const mx::array& x, const mx::array& w_NK, const std::optional<mx::array>& bias);

// How a weight was quantised: value = q * scale + bias, one scale and bias per group of a row.
struct Affine {
  int group_size = 64;  // 32, 64 or 128
  int bits = 4;         // 2, 3, 4, 5, 6 or 8

  bool is_supported() const {
    return (bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8) &&
           (group_size == 32 || group_size == 64 || group_size == 128);
  }
};

// The same with an affine weight in MLX's layout: w uint32 [N, K * bits / 32], scales and biases
// [N, K / group_size] of one floating type.
mx::array quantized_matmul(const mx::array& x, const mx::array& w, const mx::array& scales,
                           const mx::array& biases, const Affine& affine,
                           const std::optional<mx::array>& bias);

// Rows `ids` (int32 [T]) of a table [V, K] as float32 [T, K].
mx::array embedding(const mx::array& ids, const mx::array& table_VK);
mx::array quantized_embedding(const mx::array& ids, const mx::array& w, const mx::array& scales,
                              const mx::array& biases, const Affine& affine);

}  // namespace fovea::kernels
