// Elementwise functions of the MLPs, in float32. Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

mx::array swiglu(const mx::array& gate, const mx::array& up);  // silu(gate) * up

enum class Gelu {
  kExact,  // 0.5 x (1 + erf(x / sqrt 2)); "gelu"
  kTanh,   // tanh approximation; "gelu_pytorch_tanh", "gelu_new"
  kQuick,  // x sigmoid(1.702 x); "quick_gelu"
};
mx::array gelu(const mx::array& x, Gelu kind);

}  // namespace fovea::kernels
