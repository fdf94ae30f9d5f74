// Elementwise functions of the MLPs, in float32, with relative errors below 2e-6 where the result
// is over 1e-35 (1e-4 for the tanh form of GELU), and absolute errors below 1e-38 |x| (2e-10)
// elsewhere. Engine thread only.
#pragma once

#include "kernels/isa/isa.h"
#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

mx::array silu(const mx::array& x);  // x / (1 + exp(-x))

// silu(gate) * up. Shapes that differ are Error(kInvalidData).
mx::array swiglu(const mx::array& gate, const mx::array& up);

enum class Gelu {
  kExact,  // 0.5 x (1 + erf(x / sqrt 2)); "gelu"
  kTanh,   // tanh approximation; "gelu_pytorch_tanh", "gelu_new"
  kQuick,  // x sigmoid(1.702 x); "quick_gelu"
};
mx::array gelu(const mx::array& x, Gelu kind);

// What may follow a product (matmul.h).
using isa::Activation;
Activation activation_of(Gelu kind);
// y[i] = activation(x[i]), with the loops of the ops above; y may be x.
void activate(Activation activation, const float* x, size_t n, float* y);
// The same in plain MLX ops.
mx::array plain_activation(Activation activation, const mx::array& x);

}  // namespace fovea::kernels
