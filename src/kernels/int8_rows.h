// A weight once more as 8-bit integers with one scale for each row, for prompt rows that multiply
// integers: twice as fast as bfloat16, one byte a weight more memory. The error that this adds to
// products, activations rounded with one scale for each row, is a tenth of what 4 bits cost where
// inputs are of one size, and half of it where one in a hundred is up to 20 times as large
// (matmul_test.cpp). Engine thread, or the one that loads.
#pragma once

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

struct Weight;

struct Int8Rows {
  mx::array values;  // int8 [N, K]
  mx::array scales;  // float32 [N]
  mx::array sums;    // int32 [N], of a row's values

  size_t nbytes() const { return values.nbytes() + scales.nbytes() + sums.nbytes(); }
};

// Whether products take it: the processor has instructions for it.
bool multiplies_int8_rows();

// Beyond it the 32 bits of a sum would not hold K products of 255 and 127.
inline constexpr int kInt8InputsMax = 65536;

// Made from the weight, which may be quantised; more inputs are Error(kUnsupported). A row with a
// value that is not finite gives NaN. Nothing is lazy.
Int8Rows int8_rows(const Weight& weight);

}  // namespace fovea::kernels
