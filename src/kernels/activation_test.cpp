#include "kernels/activation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/isa/isa.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_matches_fallback;
using testing::random;

TEST(Activation, MatchesTheFallbackOverTheWholeRange) {
  const auto x = mx::linspace(-40, 40, 10007);
  for (const auto kind : {Gelu::kExact, Gelu::kTanh, Gelu::kQuick}) {
    expect_matches_fallback([&] { return gelu(x, kind); }, "gelu");
  }
  expect_matches_fallback([&] { return silu(x); }, "silu");
  expect_matches_fallback([&] { return swiglu(x, random({10007})); }, "swiglu");
}

TEST(Activation, ExtremesStayWhatTheyAre) {
  const std::vector<float> wild = {-1e30f, -1000.0f, -95.0f, 0.0f, 1000.0f, 1e30f};
  const std::vector<float> expected = {0, 0, 0, 0, 1000, 1e30f};
  using Loop = void (*isa::Table::*)(const float*, size_t, float*);
  for (const auto* name : {"scalar", "avx2", "avx512"}) {
    const isa::Table* table = isa::find_table(name);
    if (!table) continue;
    for (const Loop loop : {&isa::Table::silu, &isa::Table::gelu_exact, &isa::Table::gelu_tanh,
                            &isa::Table::gelu_quick}) {
      std::vector<float> y(wild.size(), NAN);
      (table->*loop)(wild.data(), wild.size(), y.data());
      for (size_t i = 0; i < wild.size(); ++i) {
        EXPECT_NEAR(y[i], expected[i], std::max(1e-38 * std::abs(wild[i]), expected[i] * 2e-6))
            << name << i;
      }
    }
  }
}

double logistic(double x) { return x / (1 + std::exp(-x)); }

// Against double precision, on every variant. Beyond -10 the functions are below 1e-21: there the
// rounding of the argument alone is more than the bound.
void expect_accurate(void (*isa::Table::*loop)(const float*, size_t, float*),
                     double (*exact)(double)) {
  std::vector<float> x;
  for (float v = -10; v < 30; v += 0.00037f) x.push_back(v);
  std::vector<float> y(x.size());
  for (const auto* name : {"scalar", "avx2", "avx512"}) {
    const isa::Table* table = isa::find_table(name);
    if (!table) continue;
    (table->*loop)(x.data(), x.size(), y.data());
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = exact(x[i]);
      if (std::abs(expected) < 1e-30) continue;
      worst = std::max(worst, std::abs(y[i] / expected - 1));
    }
    EXPECT_LT(worst, 2e-6) << name;
  }
}

TEST(Activation, IsAccurate) {
  expect_accurate(&isa::Table::silu, logistic);
  expect_accurate(&isa::Table::gelu_exact,
                  [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); });
  expect_accurate(&isa::Table::gelu_quick, [](double x) { return x / (1 + std::exp(-1.702 * x)); });
}

TEST(Activation, TanhFormIsAccurateWhereItIsNotTiny) {
  // Its cubic argument is rounded before exp: the bound holds down to -4, where gelu is 1e-4.
  std::vector<float> x;
  for (float v = -4; v < 30; v += 0.00037f) x.push_back(v);
  std::vector<float> y(x.size());
  isa::table().gelu_tanh(x.data(), x.size(), y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
    const double expected = v / (1 + std::exp(-2 * u));
    ASSERT_LE(std::abs(y[i] - expected), 2e-6 * std::abs(expected)) << v;
  }
}

TEST(Activation, NanComesThrough) {
  const auto nan = mx::array({NAN, 1.0f, 2.0f});
  for (const auto& y : {silu(nan), gelu(nan, Gelu::kExact), gelu(nan, Gelu::kTanh)}) {
    auto bad = mx::isnan(y);
    mx::eval(bad);
    EXPECT_TRUE(bad.data<bool>()[0]);
    EXPECT_FALSE(bad.data<bool>()[1]);
  }
}

TEST(Activation, RefusesShapesThatDiffer) {
  EXPECT_ERROR(swiglu(random({2, 3}), random({3, 2})), ErrorKind::kInvalidData, "[swiglu]");
}

TEST(Activation, GradientFollowsTheFallback) {
  testing::expect_equal_gradients(
      [](const mx::array& x) { return silu(x); },
      [](const mx::array& x) { return mx::multiply(x, mx::sigmoid(x)); }, random({3, 16}));
}

}  // namespace
}  // namespace fovea::kernels
