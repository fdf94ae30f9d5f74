#include "kernels/check.h"

#include <cmath>

#include "kernels/op.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::kernels {
namespace {

bool checking = false;
CheckReport report;

}  // namespace

void set_checks(bool on) {
  checking = on;
  if (on) report = {};
}

bool checks_on() { return checking; }
CheckReport check_report() { return report; }

void compare_with_fallback(const char* op, const mx::array& kernel, const mx::array& fallback,
                           float tolerance) {
  mx::array expected = mx::contiguous(mx::astype(fallback, mx::float32));
  mx::array got = kernel;
  mx::eval({got, expected});
  ++report.checked;
  if (report.first_mismatch) return;
  if (got.shape() != expected.shape()) {
    const auto shapes = shape_text(got) + " for " + shape_text(expected);
    report.first_mismatch = Mismatch{op, shapes, 0, NAN, NAN};
    return;
  }
  const float* a = got.data<float>();
  const float* b = expected.data<float>();
  float largest = 1e-6f;  // of the finite values
  float worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) {
      if (std::isfinite(b[i])) largest = std::max(largest, std::abs(b[i]));
    } else if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      worst = INFINITY;
      where = i;
    } else {
      largest = std::max(largest, std::abs(b[i]));
      const float difference = std::abs(a[i] - b[i]);
      if (difference > worst) {
        worst = difference;
        where = i;
      }
    }
  }
  if (worst <= tolerance * largest) return;
  report.first_mismatch = Mismatch{op, shape_text(got), where, a[where], b[where]};
}

}  // namespace fovea::kernels
