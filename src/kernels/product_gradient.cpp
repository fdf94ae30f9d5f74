#include "kernels/product_gradient.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "kernels/prompt_rows.h"
#include "kernels/weight_slots.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

bool rounds(bool floats) {
  return !floats && isa::table().prompt_bf16.product && numerics() != Numerics::kFloat32;
}

const isa::PromptRows& prompt_rows(bool rounds) {
  return rounds ? isa::table().prompt_bf16 : isa::table().prompt_f32;
}

float tolerance(bool rounds) { return rounds ? 2e-2f : 1e-4f; }

}  // namespace

mx::array input_gradient(const mx::array& dy, const Weight& weight) {
  Arrays inputs = {mx::astype(dy, mx::float32)};
  Weight unbiased = weight;
  unbiased.bias.reset();
  const WeightSlots slots = append_weight(unbiased, inputs);
  if (dy.ndim() == 0 || dy.shape(-1) != slots.n) {
    fail(ErrorKind::kInvalidData, "[input_gradient] expected {} outputs but got dy of shape {}",
         slots.n, shape_text(dy));
  }
  mx::Shape shape = dy.shape();
  shape.back() = slots.k;
  if (slots.n == 0) return mx::zeros(shape);  // without rows the kernel would take w as it lies
  const bool rounded = rounds(weight.values.dtype() == mx::float32);
  const auto run = [slots, rounded](const Arrays& in, float* out) {
    const Floats rows(in[0]);
    isa::PromptProduct product;
    product.rows = row_count(in[0]);
    product.n = slots.k;
    product.w = slots.rows(in);
    product.w.turned_rows = slots.n;
    product.y = out;
    product.y_stride = slots.k;
    multiply_prompt_rows(prompt_rows(rounded), product, rows.data());
  };
  const auto fallback = [slots](const Arrays& in) {
    return mx::matmul(in[0], plain_weight(in, slots));
  };
  return make_op({"fovea::input_gradient", std::move(shape), run, fallback, tolerance(rounded)},
                 inputs);
}

mx::array weight_gradient(const mx::array& dy, const mx::array& x, mx::Dtype weight) {
  if (dy.ndim() != 2 || x.ndim() != 2 || dy.shape(0) != x.shape(0)) {
    fail(ErrorKind::kInvalidData,
         "[weight_gradient] expected dy [M, N] and x [M, K] but got {} and {}", shape_text(dy),
         shape_text(x));
  }
  const int m = x.shape(0);
  const int k = x.shape(1);
  const int n = dy.shape(1);
  if (m == 0) return mx::zeros({n, k});  // without rows the kernel would take x as it lies
  const bool rounded = rounds(weight == mx::float32);
  const auto run = [m, k, n, rounded](const Arrays& in, float* out) {
    const Floats dy_rows(in[0]);
    const Floats x_rows(in[1]);
    isa::PromptProduct product;
    product.rows = n;
    product.n = k;
    product.w.k = k;
    product.w.data = x_rows.data();
    product.w.turned_rows = m;
    product.y = out;
    product.y_stride = k;
    multiply_prompt_rows(prompt_rows(rounded), product, dy_rows.data(), n);
  };
  const auto fallback = [](const Arrays& in) { return mx::matmul(mx::transpose(in[0]), in[1]); };
  return make_op({"fovea::weight_gradient", {n, k}, run, fallback, tolerance(rounded)},
                 {mx::astype(dy, mx::float32), mx::astype(x, mx::float32)});
}

}  // namespace fovea::kernels
