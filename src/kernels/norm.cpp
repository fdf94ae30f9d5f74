#include "kernels/norm.h"

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/op.h"
#include "kernels/views.h"
#include "mlx/fast.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kRowGrain = 8;

}  // namespace

mx::array checked_norm_weight(const mx::array& x, const mx::array& weight) {
  if (weight.ndim() != 1 || x.ndim() == 0 || weight.shape(0) != x.shape(-1)) {
    fail(ErrorKind::kInvalidData, "[norm] expected a weight of x's last size but got {} for x {}",
         shape_text(weight), shape_text(x));
  }
  return as_float32(weight);
}

void rms_norm_rows(const float* x, int rows, int n, const float* weight, float weight_offset,
                   float eps, float* y) {
  parallel_for(rows, kRowGrain, [&](int begin, int end) {
    for (int64_t r = begin; r < end; ++r) {
      isa::table().rms_norm(x + r * n, weight, weight_offset, eps, n, y + r * n);
    }
  });
}

mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps, float weight_offset) {
  const mx::array checked = checked_norm_weight(x, weight);
  const int n = x.shape(-1);
  const auto run = [n, eps, weight_offset, rows = row_count(x)](const Arrays& in, float* y) {
    const Floats values(in[0]);
    const Floats scale(in[1]);
    rms_norm_rows(values.data(), rows, n, scale.data(), weight_offset, eps, y);
  };
  const auto fallback = [eps, weight_offset](const Arrays& in) {
    return mx::fast::rms_norm(in[0], mx::add(in[1], mx::array(weight_offset)), eps);
  };
  return make_op({"fovea::rms_norm", x.shape(), run, fallback}, {as_float32(x), checked});
}

mx::array layer_norm(const mx::array& x, const mx::array& weight, const mx::array& bias,
                     float eps) {
  Arrays inputs = {as_float32(x), checked_norm_weight(x, weight), checked_norm_weight(x, bias)};
  const int n = x.shape(-1);
  const auto run = [n, eps, rows = row_count(x)](const Arrays& in, float* y) {
    const Floats values(in[0]);
    const Floats scale(in[1]);
    const Floats shift(in[2]);
    parallel_for(rows, kRowGrain, [&](int begin, int end) {
      for (int64_t r = begin; r < end; ++r) {
        isa::table().layer_norm(values.data() + r * n, scale.data(), shift.data(), eps, n,
                                y + r * n);
      }
    });
  };
  const auto fallback = [eps](const Arrays& in) {
    return mx::fast::layer_norm(in[0], in[1], in[2], eps);
  };
  return make_op({"fovea::layer_norm", x.shape(), run, fallback}, inputs);
}

}  // namespace fovea::kernels
