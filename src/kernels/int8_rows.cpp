#include "kernels/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/matmul.h"
#include "kernels/op.h"
#include "kernels/weight_slots.h"
#include "mlx/transforms.h"

namespace fovea::kernels {
namespace {

// One row; returns the sum of its bytes. What is not finite makes all products of the row NaN.
int32_t round_row(const float* x, int k, int8_t* bytes, float& scale) {
  float largest = 0;
  for (int i = 0; i < k; ++i) {
    if (!std::isfinite(x[i])) {
      std::fill(bytes, bytes + k, int8_t{0});
      scale = NAN;
      return 0;
    }
    largest = std::max(largest, std::abs(x[i]));
  }
  scale = largest / 127;
  const float inverse = scale > 1e-30f ? 1 / scale : 0;
  int32_t sum = 0;
  for (int i = 0; i < k; ++i) {
    bytes[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
    sum += bytes[i];
  }
  return sum;
}

}  // namespace

bool multiplies_int8_rows() { return isa::table().prompt_int8.product != nullptr; }

Int8Rows int8_rows(const Weight& weight) {
  Arrays parts;
  const WeightSlots slots = append_weight(weight, parts);
  mx::eval(parts);
  const auto w = slots.rows(parts);
  if (slots.k > kInt8InputsMax) {
    fail(ErrorKind::kUnsupported, "[int8_rows] expected at most {} inputs but got {}",
         kInt8InputsMax, slots.k);
  }
  const auto n = static_cast<size_t>(slots.n);
  const auto k = static_cast<size_t>(slots.k);
  std::vector<int8_t> bytes(n * k);
  std::vector<float> scales(n);
  std::vector<int32_t> sums(n);
  parallel_for(slots.n, 16, [&](int begin, int end) {
    std::vector<float> row(k);
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      isa::table().expand_row(w, static_cast<int>(i), row.data());
      sums[i] = round_row(row.data(), slots.k, bytes.data() + i * k, scales[i]);
    }
  });
  return {mx::array(bytes.data(), {slots.n, slots.k}, mx::int8),
          mx::array(scales.data(), {slots.n}, mx::float32),
          mx::array(sums.data(), {slots.n}, mx::int32)};
}

}  // namespace fovea::kernels
