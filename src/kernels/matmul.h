// Products with weights stored [out, in] as checkpoints have them, float32 in and out. How exact
// they are in between is told by numerics.h; sums run in an order that depends on K and on how the
// weight is stored: a row of x gives the same bits whatever rows of its kind stand beside it.
// Engine thread only.
//
// Legend: M rows, K inputs, N outputs.
#pragma once

#include <memory>
#include <optional>

#include "kernels/activation.h"
#include "kernels/int8_rows.h"
#include "kernels/quantization.h"
#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

// A weight [N, K], and the bias [N] of its products. Parts that disagree are Error(kInvalidData)
// in whatever takes it.
struct Weight {
  mx::array values;  // float32, bfloat16 or float16; quantised: uint32 [N, K * bits / 32]
  std::optional<mx::array> bias;
  // Quantised in MLX's layout: scales [N, K / group_size], of a floating type with biases like them
  // for the affine mode, else uint8. Only affine weights have numerics of their own for decode
  // rows.
  std::optional<Quantization> quantization;
  std::optional<mx::array> scales;
  std::optional<mx::array> biases;
  // Of the same weight, for prompt rows: int8_rows.h.
  std::shared_ptr<const Int8Rows> int8_rows;
};

// Outputs [begin, end) of a weight that holds several, one behind the other: a view.
Weight rows_of(const Weight& weight, int begin, int end);

// What follows a product, an activation while its tiles are at hand; the bits are those of the ops
// one by one.
struct Epilogue {
  Activation activation = Activation::kNone;  // of x W^T + bias
  std::optional<mx::array> residual;          // of the output's shape, added last
};

// activation(x[..., K] W^T + bias) + residual -> [..., N].
mx::array linear(const mx::array& x, const Weight& weight, const Epilogue& end = {});

// activation(x G^T + g) * (x U^T + u): SwiGLU with kSilu, GeGLU with a GELU. One op where both
// weights are stored alike. Shapes that differ are Error(kInvalidData).
mx::array gated_linear(const mx::array& x, const Weight& gate, const Weight& up,
                       Activation activation);

// The plain products of both kinds of weights.
mx::array matmul(const mx::array& x, const mx::array& w_NK, const std::optional<mx::array>& bias);
mx::array quantized_matmul(const mx::array& x, const mx::array& w, const mx::array& scales,
                           const mx::array& biases, const Quantization& quantization,
                           const std::optional<mx::array>& bias);

// Rows `ids` (int32 [T], each in [0, V), which is the caller's to check) of a table [V, K] as
// float32 [T, K].
mx::array embedding(const mx::array& ids, const Weight& table);

}  // namespace fovea::kernels
