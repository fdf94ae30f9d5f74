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
  const float* a = got.data<float>();
  const float* b = expected.data<float>();
  float largest = 0;
  float worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const float difference = std::abs(a[i] - b[i]);
    largest = std::max(largest, std::abs(b[i]));
    // A NaN on one side only is a difference too.
    if (difference > worst || std::isnan(a[i]) != std::isnan(b[i])) {
      worst = std::isnan(difference) ? INFINITY : difference;
      where = i;
    }
  }
  if (worst <= tolerance * std::max(largest, 1e-6f)) return;
  report.first_mismatch = Mismatch{op, shape_text(got), where, a[where], b[where]};
}

}  // namespace fovea::kernels
