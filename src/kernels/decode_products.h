// Decode rows (numerics.h) times one or several weights, on all threads: what the ops over decode
// rows are made of. The thread that runs ops only.
#pragma once

#include <functional>
#include <span>

#include "kernels/activation.h"
#include "kernels/isa/isa.h"

namespace fovea::kernels {

// y[m, n] = sum over k of x[m, k] * weight[n, k] + bias[n], with `n` columns to a row of y. Plain
// or affine values.
struct DecodeWeight {
  isa::WeightRows weight;
  int n = 0;
  const float* bias = nullptr;  // or none
  float* y = nullptr;
};

// At least one weight; all of them share x [m_count, K]. `then(i, begin, end)` is called, on any
// thread, when columns [begin, end) of product i are there for all rows; what it does must not
// depend on the cut.
using ColumnsDone = std::function<void(size_t i, int begin, int end)>;
void decode_products(const float* x, int m_count, std::span<const DecodeWeight> weights,
                     const ColumnsDone& then = {});

// up.y = activation(x times gate) * (x times up), of as many outputs. gate.y is not used.
void decode_gated(const float* x, int m_count, DecodeWeight gate, const DecodeWeight& up,
                  Activation activation);

}  // namespace fovea::kernels
