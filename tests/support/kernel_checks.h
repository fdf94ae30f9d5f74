// What the kernel tests share: random arrays, a kernel against its fallback, equal bits.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>

#include "kernels/check.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace fovea::testing {

namespace mx = mlx::core;

inline mx::array random(mx::Shape shape, mx::Dtype dtype = mx::float32) {
  static uint64_t seed = 1;
  auto made =
      mx::astype(mx::random::normal(std::move(shape), mx::float32, mx::random::key(seed++)), dtype);
  mx::eval(made);
  return made;
}

// Runs `op` with checks on, so that its fallback is run too, and expects agreement.
inline void expect_matches_fallback(const std::function<mx::array()>& op, const std::string& what) {
  kernels::set_checks(true);
  mx::eval(op());
  kernels::set_checks(false);
  const auto report = kernels::check_report();
  EXPECT_GT(report.checked, 0) << what;
  if (report.first_mismatch) {
    const auto& m = *report.first_mismatch;
    ADD_FAILURE() << what << ": " << m.op << " " << m.shape << " at " << m.index << " kernel "
                  << m.kernel << " fallback " << m.fallback;
  }
}

inline void expect_equal_bits(const mx::array& a, const mx::array& b, const std::string& what) {
  mx::array left = mx::contiguous(a);
  mx::array right = mx::contiguous(b);
  mx::eval({left, right});
  ASSERT_EQ(left.shape(), right.shape()) << what;
  EXPECT_EQ(std::memcmp(left.data<float>(), right.data<float>(), left.nbytes()), 0) << what;
}

inline mx::array rows(const mx::array& x, int begin, int end) {
  mx::Shape start(x.ndim(), 0);
  mx::Shape stop = x.shape();
  start[0] = begin;
  stop[0] = end;
  return mx::slice(x, start, stop);
}

// The gradient of sum(op(x)^2) through the kernel's graph and through plain MLX ops.
inline void expect_equal_gradients(const std::function<mx::array(const mx::array&)>& op,
                                   const std::function<mx::array(const mx::array&)>& plain,
                                   const mx::array& x) {
  const auto loss = [](const auto& f) {
    return [f](const mx::array& at) { return mx::sum(mx::square(f(at))); };
  };
  const auto got = mx::grad(loss(op))(x);
  const auto expected = mx::grad(loss(plain))(x);
  EXPECT_TRUE(mx::allclose(got, expected, 1e-4, 1e-4).item<bool>());
}

}  // namespace fovea::testing
