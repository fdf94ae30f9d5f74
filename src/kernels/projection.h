// Products that blocks of a model need together, each group with the norm before it as one node of
// MLX's graph. A node and a loop on all threads cost microseconds each, which a step of decode rows
// (numerics.h) would pay some twenty times a layer. The bits are those of rms_norm(), linear() and
// gated_linear() one by one, which also do the work where not all rows are decode rows, and errors
// are theirs. Engine thread only.
#pragma once

#include <optional>
#include <vector>

#include "kernels/matmul.h"
#include "kernels/norm.h"

namespace fovea::kernels {

// norm(x)[..., K] times each weight -> [..., N]; without a norm, x itself.
std::vector<mx::array> products(const mx::array& x, const std::optional<RowNorm>& norm,
                                const std::vector<Weight>& weights);

// gated_linear() of norm(x).
mx::array gated_product(const mx::array& x, const std::optional<RowNorm>& norm, const Weight& gate,
                        const Weight& up, Activation activation);

}  // namespace fovea::kernels
