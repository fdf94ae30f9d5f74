// The gradients of products as products of their own: the weight's rows become inputs, or the rows
// of x do. Rounded as prompt rows are (numerics.h): float32 weights stay exact. Engine thread only.
//
// Legend: M rows, K inputs, N outputs of the product.
#pragma once

#include "kernels/matmul.h"

namespace fovea::kernels {

// dy[..., N] W -> [..., K]: the gradient of x. The weight may be quantised; its bias does not
// count.
mx::array input_gradient(const mx::array& dy, const Weight& weight);

// dy[M, N]^T x[M, K] -> float32 [N, K]: the gradient of a plain weight of that type.
mx::array weight_gradient(const mx::array& dy, const mx::array& x, mx::Dtype weight);

}  // namespace fovea::kernels
