#include "kernels/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/op.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::random;

// A kernel that copies, with one of its six values changed.
mx::array copy_with_fault(const mx::array& x, float fault, float tolerance = Op().tolerance) {
  const auto run = [fault](const Arrays& in, float* y) {
    const Floats values(in[0]);
    std::copy(values.data(), values.data() + 6, y);
    y[4] += fault;
  };
  return make_op({"copy", {2, 3}, run, [](const Arrays& in) { return in[0]; }, tolerance}, {x});
}

CheckReport report_of_fault(float fault) {
  set_checks(true);
  mx::eval(copy_with_fault(random({2, 3}), fault));
  set_checks(false);
  return check_report();
}

TEST(Check, FindsAWrongKernel) {
  const auto report = report_of_fault(1);
  EXPECT_EQ(report.checked, 1);
  ASSERT_TRUE(report.first_mismatch.has_value());
  EXPECT_EQ(report.first_mismatch->op, "copy");
  EXPECT_EQ(report.first_mismatch->shape, "[2, 3]");
  EXPECT_EQ(report.first_mismatch->index, 4u);
  EXPECT_FLOAT_EQ(report.first_mismatch->kernel, report.first_mismatch->fallback + 1);
}

TEST(Check, FindsNan) {
  const auto report = report_of_fault(NAN);
  ASSERT_TRUE(report.first_mismatch.has_value());
  EXPECT_EQ(report.first_mismatch->index, 4u);
}

TEST(Check, FindsAFaultBesideInfinities) {
  const auto x = mx::array({1.0f, -INFINITY, INFINITY, 2.0f, 3.0f, -INFINITY}, {2, 3});
  for (const float fault : {0.0f, 1.0f, INFINITY, NAN}) {
    set_checks(true);
    mx::eval(copy_with_fault(x, fault));
    set_checks(false);
    EXPECT_EQ(check_report().first_mismatch.has_value(), fault != 0) << fault;
  }
}

TEST(Check, FindsAnotherShape) {
  set_checks(true);
  const auto run = [](const Arrays&, float* y) { std::fill(y, y + 6, 0.0f); };
  const auto fallback = [](const Arrays&) { return mx::zeros({3, 2}); };
  mx::eval(make_op({"shape", {2, 3}, run, fallback}, {mx::zeros({1})}));
  set_checks(false);
  ASSERT_TRUE(check_report().first_mismatch.has_value());
  EXPECT_EQ(check_report().first_mismatch->shape, "[2, 3] for [3, 2]");
}

TEST(Check, LetsARightKernelPass) {
  const auto report = report_of_fault(0);
  EXPECT_EQ(report.checked, 1);
  EXPECT_FALSE(report.first_mismatch.has_value());
}

TEST(Check, AnOpSetsItsTolerance) {
  set_checks(true);
  const auto x = mx::full({2, 3}, 10.0f);
  mx::eval({copy_with_fault(x, 0.09f, 0.01f), copy_with_fault(x, 0.11f, 0.01f)});
  set_checks(false);
  ASSERT_TRUE(check_report().first_mismatch.has_value());
  EXPECT_FLOAT_EQ(check_report().first_mismatch->kernel, 10.11f);
}

TEST(Check, KeepsTheFirstMismatchAndCountsOn) {
  set_checks(true);
  const auto x = random({2, 3});
  mx::eval({copy_with_fault(x, 0), copy_with_fault(x, 2), copy_with_fault(x, 3)});
  set_checks(false);
  const auto report = check_report();
  EXPECT_EQ(report.checked, 3);
  ASSERT_TRUE(report.first_mismatch.has_value());
  EXPECT_FLOAT_EQ(report.first_mismatch->kernel, report.first_mismatch->fallback + 2);
}

TEST(Check, CostsNothingWhenOff) {
  set_checks(true);
  set_checks(false);
  mx::eval(copy_with_fault(random({2, 3}), 1));
  EXPECT_EQ(check_report().checked, 0);
}

}  // namespace
}  // namespace fovea::kernels
