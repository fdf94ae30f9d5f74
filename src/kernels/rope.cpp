#include "kernels/rope.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kRowGrain = 16;

struct Dims {
  int t, h, d, r;
};

void rotate_rows(const Dims& n, const float* x, const float* cos, const float* sin, int begin,
                 int end, float* y) {
  for (int64_t row = int64_t{begin} * n.h; row < int64_t{end} * n.h; ++row) {
    const float* c = cos + row / n.h * n.r;
    const float* s = sin + row / n.h * n.r;
    const float* in = x + row * n.d;
    float* out = y + row * n.d;
    for (int i = 0; i < n.r; ++i) {
      out[i] = in[i] * c[i] - in[i + n.r] * s[i];
      out[i + n.r] = in[i + n.r] * c[i] + in[i] * s[i];
    }
    std::copy(in + 2 * n.r, in + n.d, out + 2 * n.r);
  }
}

mx::array part(const mx::array& x, int begin, int end) {
  return mx::slice(x, {0, 0, begin}, {x.shape(0), x.shape(1), end});
}

mx::array rope_fallback(const Arrays& in, const Dims& n) {
  const auto c = mx::expand_dims(in[1], 1);
  const auto s = mx::expand_dims(in[2], 1);
  const auto one = part(in[0], 0, n.r);
  const auto two = part(in[0], n.r, 2 * n.r);
  return mx::concatenate(
      {mx::subtract(mx::multiply(one, c), mx::multiply(two, s)),
       mx::add(mx::multiply(two, c), mx::multiply(one, s)), part(in[0], 2 * n.r, n.d)},
      2);
}

}  // namespace

mx::array rope(const mx::array& x_THD, const mx::array& cos_TR, const mx::array& sin_TR) {
  if (x_THD.ndim() != 3 || cos_TR.ndim() != 2 || cos_TR.shape() != sin_TR.shape() ||
      cos_TR.shape(0) != x_THD.shape(0) || 2 * cos_TR.shape(1) > x_THD.shape(2)) {
    fail(ErrorKind::kInvalidData,
         "[rope] expected tables [T, <= D / 2] for x [T, H, D] but got {} and {}",
         shape_text(cos_TR), shape_text(x_THD));
  }
  const Dims n{x_THD.shape(0), x_THD.shape(1), x_THD.shape(2), cos_TR.shape(1)};
  const auto run = [n](const Arrays& in, float* y) {
    const Floats x(in[0]);
    const Floats cos(in[1]);
    const Floats sin(in[2]);
    parallel_for(n.t, kRowGrain, [&](int begin, int end) {
      rotate_rows(n, x.data(), cos.data(), sin.data(), begin, end, y);
    });
  };
  const auto fallback = [n](const Arrays& in) { return rope_fallback(in, n); };
  return make_op({"fovea::rope", x_THD.shape(), run, fallback},
                 {mx::astype(x_THD, mx::float32), mx::astype(cos_TR, mx::float32),
                  mx::astype(sin_TR, mx::float32)});
}

}  // namespace fovea::kernels
