#include "kernels/projection.h"

#include <gtest/gtest.h>

#include "kernels/numerics.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::expect_matches_fallback;
using testing::random;
using testing::rows;

constexpr int kInputs = 192;

// `bits` 0 is a weight that is not quantised.
struct Kind {
  int bits;
  mx::Dtype dtype;
  int group = 64;
};

Weight random_weight(int n, const Kind& kind, bool bias) {
  const auto values = random({n, kInputs});
  Weight weight{.values = mx::astype(values, kind.dtype)};
  if (kind.bits != 0) {
    const auto parts = mx::quantize(values, kind.group, kind.bits);
    weight.values = parts[0];
    weight.quantization = Quantization{kind.group, kind.bits};
    weight.scales = mx::astype(parts[1], kind.dtype);
    weight.biases = mx::astype(parts[2], kind.dtype);
  }
  if (bias) weight.bias = random({n}, kind.dtype);
  mx::eval({weight.values, weight.scales.value_or(values), weight.biases.value_or(values)});
  return weight;
}

// Values that are floats: no kernel of decode rows has them.
Weight mxfp4_weight(int n) {
  const auto parts = mx::quantize(random({n, kInputs}), 32, 4, "mxfp4");
  Weight weight{.values = parts[0]};
  weight.quantization = standard_quantization(QuantizationMode::kMxfp4);
  weight.scales = parts[1];
  mx::eval({weight.values, *weight.scales});
  return weight;
}

RowNorm random_norm(mx::Dtype dtype) { return {random({kInputs}, dtype), 1e-5f, 0.25f}; }

mx::array normed(const mx::array& x, const RowNorm& norm) {
  return rms_norm(x, norm.weight, norm.eps, norm.weight_offset);
}

const std::vector<Kind> kKinds = {
    {4, mx::bfloat16}, {8, mx::float16}, {3, mx::float32}, {0, mx::bfloat16}, {0, mx::float32}};
constexpr Activation kActivations[] = {Activation::kSilu, Activation::kGeluTanh};

// One node and the ops one by one, for a number of rows.
template <class Fused, class Plain>
void expect_same(Fused fused, Plain plain, const std::string& what) {
  for (const int m : {1, 2, 3, 4, 9, 17}) {
    const auto x = random({m, kInputs});
    const DecodeRows scope(0);
    expect_equal_bits(fused(x), plain(x), fmt::format("{} rows {}", what, m));
  }
}

TEST(Projection, OneNodeHasTheBitsOfTheOpsOneByOne) {
  for (const auto& kind : kKinds) {
    const auto what = fmt::format("bits {}", kind.bits);
    const auto norm = random_norm(kind.dtype);
    const std::vector<Weight> weights = {random_weight(37, kind, true),
                                         random_weight(70, kind, false),
                                         random_weight(5, kind, true)};
    for (size_t i = 0; i < weights.size(); ++i) {
      expect_same([&](const auto& x) { return products(x, norm, weights)[i]; },
                  [&](const auto& x) { return linear(normed(x, norm), weights[i]); }, what);
      expect_same([&](const auto& x) { return products(x, std::nullopt, weights)[i]; },
                  [&](const auto& x) { return linear(x, weights[i]); }, what);
    }
    const auto gate = random_weight(70, kind, true);
    for (const auto activation : kActivations) {
      expect_same(
          [&](const auto& x) { return gated_product(x, norm, gate, weights[1], activation); },
          [&](const auto& x) {
            return mx::multiply(linear(normed(x, norm), gate, {activation, {}}),
                                linear(normed(x, norm), weights[1]));
          },
          what);
    }
  }
}

TEST(Projection, TakesWeightsOfSeveralKinds) {
  const std::vector<Weight> weights = {random_weight(33, {4, mx::bfloat16}, false),
                                       random_weight(33, {8, mx::bfloat16}, false),
                                       random_weight(33, {8, mx::float16, 32}, false),
                                       random_weight(33, {0, mx::bfloat16}, false),
                                       mxfp4_weight(33),
                                       random_weight(33, {4, mx::float16}, false)};
  const auto norm = random_norm(mx::bfloat16);
  const auto silu = Activation::kSilu;
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto what = fmt::format("kind {}", i);
    const std::vector<Weight> pair = {weights[0], weights[i]};
    expect_same([&](const auto& x) { return products(x, norm, pair)[1]; },
                [&](const auto& x) { return linear(normed(x, norm), pair[1]); }, what);
    expect_same([&](const auto& x) { return gated_product(x, norm, pair[0], pair[1], silu); },
                [&](const auto& x) {
                  const auto input = normed(x, norm);
                  return mx::multiply(linear(input, pair[0], {silu, {}}), linear(input, pair[1]));
                },
                what);
  }
}

TEST(Projection, TakesStridedAndHigherRankInputs) {
  const auto weight = random_weight(40, {4, mx::bfloat16}, true);
  const auto norm = random_norm(mx::bfloat16);
  const auto wide = mx::slice(random({6, 300}), {0, 5}, {6, 5 + kInputs});
  const auto turned = mx::transpose(random({kInputs, 6}));
  const DecodeRows scope(0);
  for (const auto& x : {wide, turned}) {
    const auto copy = mx::contiguous(x);
    expect_equal_bits(products(x, norm, {weight})[0], products(copy, norm, {weight})[0], "strided");
  }
  const auto x3 = random({2, 3, kInputs});
  EXPECT_EQ(products(x3, norm, {weight})[0].shape(), (mx::Shape{2, 3, 40}));
  EXPECT_EQ(gated_product(x3, norm, weight, weight, Activation::kSilu).shape(),
            (mx::Shape{2, 3, 40}));
}

TEST(Projection, MatchesTheFallbackWhateverTheRowsAre) {
  const auto norm = random_norm(mx::bfloat16);
  for (const auto& kind : kKinds) {
    const auto weight = random_weight(70, kind, true);
    const auto x = random({5, kInputs});
    for (const int first : {0, 3, 5}) {
      const DecodeRows scope(first);
      const auto what = fmt::format("bits {} first decode row {}", kind.bits, first);
      expect_matches_fallback([&] { return products(x, norm, {weight, weight})[1]; }, what);
      expect_matches_fallback(
          [&] { return gated_product(x, norm, weight, weight, Activation::kSilu); }, what);
    }
  }
}

TEST(Projection, ARowKeepsItsBitsBesidePromptRows) {
  const auto weight = random_weight(70, {4, mx::bfloat16}, true);
  const auto norm = random_norm(mx::bfloat16);
  const auto x = random({9, kInputs});
  const auto residual = random({9, 70});
  const auto blocks = [&](int first, int begin) {
    const DecodeRows scope(first);
    const auto some = rows(x, begin, 9);
    const auto gated = gated_product(some, norm, weight, weight, Activation::kSilu);
    return mx::concatenate({gated, products(some, norm, {weight})[0],
                            linear(some, weight, {.residual = rows(residual, begin, 9)})},
                           1);
  };
  expect_equal_bits(rows(blocks(6, 0), 6, 9), blocks(0, 6), "beside prompt rows");
}

TEST(Projection, GradientFollowsTheFallback) {
  // Small, since the gradients are compared with an absolute tolerance too.
  auto weight = random_weight(20, {0, mx::float32}, false);
  weight.values = mx::multiply(weight.values, mx::array(0.05f));
  const RowNorm norm{random({kInputs}), 1e-5f, 0};
  const auto plain = [&](const mx::array& x) {
    const auto mean = mx::mean(mx::square(x), -1, true);
    const auto scaled = mx::divide(x, mx::sqrt(mx::add(mean, mx::array(1e-5f))));
    return mx::matmul(mx::multiply(scaled, norm.weight), mx::transpose(weight.values));
  };
  const auto as_node = [](auto op) {
    return [op](const mx::array& x) {
      const DecodeRows scope(0);
      return op(x);
    };
  };
  const auto x = random({3, kInputs});
  testing::expect_equal_gradients(
      as_node([&](const mx::array& in) {
        const auto all = products(in, norm, {weight, weight});
        return mx::add(all[0], all[1]);
      }),
      [&](const mx::array& in) { return mx::multiply(plain(in), mx::array(2.0f)); }, x);
  testing::expect_equal_gradients(
      as_node([&](const mx::array& in) {
        return gated_product(in, norm, weight, weight, Activation::kSilu);
      }),
      [&](const mx::array& in) {
        const auto y = plain(in);
        return mx::multiply(mx::multiply(y, mx::sigmoid(y)), y);
      },
      x);
}

TEST(Projection, RefusesWhatDoesNotFit) {
  const auto weight = random_weight(20, {4, mx::bfloat16}, false);
  const auto norm = random_norm(mx::bfloat16);
  const auto x = random({1, kInputs});
  const DecodeRows scope(0);
  EXPECT_ERROR(products(random({1, 64}), std::nullopt, {weight}), ErrorKind::kInvalidData,
               "[matmul] expected 192 inputs but got x of shape [1, 64]");
  EXPECT_ERROR(products(x, RowNorm{random({64}), 1e-5f, 0}, {weight}), ErrorKind::kInvalidData,
               "[norm] expected a weight of x's last size but got [64]");
  auto biased = weight;
  biased.bias = random({21});
  EXPECT_ERROR(products(x, std::nullopt, {biased}), ErrorKind::kInvalidData,
               "expected a bias of shape [20] but got [21]");
  EXPECT_ERROR(gated_product(x, norm, weight, random_weight(21, {4, mx::bfloat16}, false),
                             Activation::kSilu),
               ErrorKind::kInvalidData, "expected weights of one shape");
}

// Three weights in one, as some checkpoints keep queries, keys and values.
TEST(Projection, RowsOfAWeightAreThoseOfTheWhole) {
  for (const Kind& kind : kKinds) {
    auto whole = random_weight(200, kind, true);
    for (const bool int8 : {false, true}) {
      if (int8 && !multiplies_int8_rows()) continue;
      if (int8) whole.int8_rows = std::make_shared<const Int8Rows>(int8_rows(whole));
      for (const int m : {1, 3, 40}) {
        const auto x = random({m, kInputs});
        const DecodeRows scope(m == 40 ? m : 0);
        const auto all = linear(x, whole);
        int begin = 0;
        for (const int end : {64, 65, 200}) {
          const auto wanted = mx::slice(all, {0, begin}, {m, end});
          expect_equal_bits(
              linear(x, rows_of(whole, begin, end)), mx::contiguous(wanted),
              fmt::format("bits {} rows {} outputs {} to {}", kind.bits, m, begin, end));
          begin = end;
        }
      }
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
