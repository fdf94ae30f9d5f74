#include "kernels/rope.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kRowGrain = 16;

struct Dims {
  int t, h, d, r;
};

// Rare enough to stay plain: no family of ours has it in a hot place.
void rotate_interleaved(const Dims& n, const float* x, const float* cos, const float* sin,
                        float* y) {
  for (int h = 0; h < n.h; ++h, x += n.d, y += n.d) {
    for (int i = 0; i < n.r; ++i) {
      y[2 * i] = x[2 * i] * cos[i] - x[2 * i + 1] * sin[i];
      y[2 * i + 1] = x[2 * i + 1] * cos[i] + x[2 * i] * sin[i];
    }
    std::copy(x + 2 * n.r, x + n.d, y + 2 * n.r);
  }
}

mx::array part(const mx::array& x, int begin, int end, int step = 1) {
  return mx::slice(x, {0, 0, begin}, {x.shape(0), x.shape(1), end}, {1, 1, step});
}

mx::array rope_fallback(const Arrays& in, const Dims& n, RopeLayout layout) {
  const bool halves = layout == RopeLayout::kHalves;
  const auto c = mx::expand_dims(in[1], 1);
  const auto s = mx::expand_dims(in[2], 1);
  const auto one = halves ? part(in[0], 0, n.r) : part(in[0], 0, 2 * n.r, 2);
  const auto two = halves ? part(in[0], n.r, 2 * n.r) : part(in[0], 1, 2 * n.r, 2);
  const auto first = mx::subtract(mx::multiply(one, c), mx::multiply(two, s));
  const auto second = mx::add(mx::multiply(two, c), mx::multiply(one, s));
  const auto turned = halves ? mx::concatenate({first, second}, 2)
                             : mx::reshape(mx::stack({first, second}, 3), {n.t, n.h, 2 * n.r});
  return mx::concatenate({turned, part(in[0], 2 * n.r, n.d)}, 2);
}

Dims checked_dims(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  if (x.ndim() != 3 || cos.ndim() != 2 || cos.shape() != sin.shape() ||
      cos.shape(0) != x.shape(0) || 2 * cos.shape(1) > x.shape(2)) {
    fail(ErrorKind::kInvalidData,
         "[rope] expected tables [T, <= D / 2] for x [T, H, D] but got {} and {}", shape_text(cos),
         shape_text(x));
  }
  return {x.shape(0), x.shape(1), x.shape(2), cos.shape(1)};
}

}  // namespace

mx::array rope(const mx::array& x_THD, const mx::array& cos_TR, const mx::array& sin_TR,
               RopeLayout layout) {
  const Dims n = checked_dims(x_THD, cos_TR, sin_TR);
  const auto run = [n, layout](const Arrays& in, float* y) {
    const Floats x(in[0]);
    const Floats cos(in[1]);
    const Floats sin(in[2]);
    parallel_for(n.t, kRowGrain, [&](int begin, int end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t at = t * n.h * n.d;
        const float* c = cos.data() + t * n.r;
        const float* s = sin.data() + t * n.r;
        if (layout == RopeLayout::kHalves) {
          isa::table().rotate(x.data() + at, c, s, n.h, n.d, n.r, y + at);
        } else {
          rotate_interleaved(n, x.data() + at, c, s, y + at);
        }
      }
    });
  };
  const auto fallback = [n, layout](const Arrays& in) { return rope_fallback(in, n, layout); };
  return make_op({"fovea::rope", x_THD.shape(), run, fallback},
                 {mx::astype(x_THD, mx::float32), mx::astype(cos_TR, mx::float32),
                  mx::astype(sin_TR, mx::float32)});
}

}  // namespace fovea::kernels
