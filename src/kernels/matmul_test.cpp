#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "kernels/numerics.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::expect_matches_fallback;
using testing::random;
using testing::rows;

struct Quantized {
  mx::array w, scales, biases;
};

Quantized quantize(const mx::array& w, const Quantization& affine, mx::Dtype dtype) {
  const auto parts = mx::quantize(w, affine.group_size, affine.bits);
  return {parts[0], mx::astype(parts[1], dtype), mx::astype(parts[2], dtype)};
}

TEST(Matmul, MatchesTheFallbackOverOddSizesAndDtypes) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    for (const int m : {1, 2, 3, 5, 16}) {
      for (const int n : {1, 3, 4, 7, 65}) {
        for (const int k : {1, 7, 8, 9, 64, 77}) {
          // Positive, or sums near zero would show the rounding of what cancelled out.
          const auto x = mx::abs(random({m, k}));
          const auto w = mx::abs(random({n, k}, dtype));
          const auto bias = mx::abs(random({n}));
          const auto what = fmt::format("m {} n {} k {}", m, n, k);
          expect_matches_fallback([&] { return matmul(x, w, std::nullopt); }, what);
          expect_matches_fallback([&] { return matmul(x, w, bias); }, what + " bias");
        }
      }
    }
  }
}

TEST(Matmul, MatchesTheFallbackBeyondOnePanelAndOneBlockOfRows) {
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto x = random({67, 2050});
    const auto w = random({150, 2050}, dtype);
    expect_matches_fallback([&] { return matmul(x, w, std::nullopt); }, "large");
  }
}

TEST(Matmul, TakesStridedAndHigherRankInputs) {
  const auto x = mx::transpose(random({24, 10}));
  const auto w = mx::transpose(random({24, 6}));
  expect_matches_fallback([&] { return matmul(x, w, std::nullopt); }, "strided");
  const auto columns = mx::slice(random({5, 40}), {0, 3}, {5, 27});
  expect_matches_fallback([&] { return matmul(columns, w, std::nullopt); }, "columns of a wider x");
  const auto x3 = random({2, 5, 24});
  EXPECT_EQ(matmul(x3, random({6, 24}), std::nullopt).shape(), (mx::Shape{2, 5, 6}));
}

TEST(Matmul, ChainsWithMlxOps) {
  // Both kinds of op run on one stream: neither may see the other's output too early.
  auto x = random({33, 64});
  const auto w = mx::multiply(random({64, 64}), mx::array(0.1f));  // small: errors must not grow
  auto expected = x;
  for (int i = 0; i < 20; ++i) {
    x = mx::tanh(matmul(mx::add(x, mx::array(0.5f)), w, std::nullopt));
    expected = mx::tanh(mx::matmul(mx::add(expected, mx::array(0.5f)), mx::transpose(w)));
  }
  EXPECT_LT(mx::max(mx::abs(mx::subtract(x, expected))).item<float>(), 1e-4f);
}

// The product built with all rows as decode rows.
template <class Product>
mx::array as_decode_rows(Product product) {
  const DecodeRows scope(0);
  return product();
}

TEST(QuantizedMatmul, DecodeRowsMatchTheFallback) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const int k : {128, 384, 1280}) {
        const auto q = quantize(random({21, k}), {group, bits}, mx::bfloat16);
        const auto x = random({5, k});
        const auto what = fmt::format("bits {} group {} k {}", bits, group, k);
        expect_matches_fallback(
            [&] {
              return as_decode_rows([&] {
                return quantized_matmul(x, q.w, q.scales, q.biases, {group, bits}, random({21}));
              });
            },
            what);
      }
    }
  }
}

TEST(QuantizedMatmul, EightBitActivationsCostLessThanFourBitWeights) {
  // The error that 4 bits bring to a product, against what decode rows add to it, where some inputs
  // are up to 20 times as large as the others, as in real decoders: one in a hundred, one in ten.
  const int k = 2048;
  const auto w = random({256, k});
  const auto q = quantize(w, {64, 4}, mx::float32);
  const auto error = [](const mx::array& a, const mx::array& b) {
    return mx::sqrt(mx::mean(mx::square(mx::subtract(a, b)))).item<float>();
  };
  const auto chance = mx::random::uniform({k}, mx::float32, mx::random::key(7));
  const auto sizes = mx::random::uniform(2.0f, 20.0f, {k}, mx::float32, mx::random::key(8));
  for (const float share : {0.01f, 0.1f}) {
    const auto heavy = mx::less(chance, mx::array(share));
    const auto x = mx::multiply(random({8, k}), mx::where(heavy, sizes, mx::array(1.0f)));
    const auto dense = mx::matmul(x, mx::transpose(w));
    const auto exact = mx::quantized_matmul(x, q.w, q.scales, q.biases, true, 64, 4);
    const auto got = as_decode_rows([&] {
      return quantized_matmul(x, q.w, q.scales, q.biases, {64, 4}, std::nullopt);
    });
    EXPECT_LT(error(got, exact), 0.5f * error(exact, dense)) << share;
  }
}

TEST(QuantizedMatmul, ADecodeRowKeepsItsBitsForEveryWidthAndGroup) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const auto dtype : {mx::bfloat16, mx::float16, mx::float32}) {
        const auto q = quantize(random({77, 1920}), {group, bits}, dtype);
        const auto x = random({17, 1920});
        const auto bias = random({77});
        const auto product = [&](const mx::array& part) {
          return as_decode_rows([&] {
            return quantized_matmul(part, q.w, q.scales, q.biases, {group, bits}, bias);
          });
        };
        const auto all = product(x);
        for (int m = 0; m < 17; ++m) {
          expect_equal_bits(rows(all, m, m + 1), product(rows(x, m, m + 1)),
                            fmt::format("row {} bits {} group {}", m, bits, group));
        }
      }
    }
  }
}

TEST(QuantizedMatmul, ADecodeRowKeepsItsBitsInAnyCompany) {
  for (const int bits : {3, 4, 8}) {
    const auto q = quantize(random({67, 1088}), {64, bits}, mx::bfloat16);
    const auto x = random({64, 1088});
    const auto product = [&](const mx::array& part) {
      return quantized_matmul(part, q.w, q.scales, q.biases, {64, bits}, std::nullopt);
    };
    const auto all = as_decode_rows([&] { return product(x); });
    for (int m = 1; m <= 64; ++m) {
      const auto some = as_decode_rows([&] { return product(rows(x, 64 - m, 64)); });
      expect_equal_bits(rows(all, 64 - m, 64), some, "last rows");
    }
    // Beside prompt rows.
    const DecodeRows scope(40);
    const auto mixed = product(x);
    expect_equal_bits(rows(mixed, 40, 64), rows(all, 40, 64), "decode rows after prompt rows");
  }
}

TEST(QuantizedMatmul, APromptRowKeepsItsBitsInAnyCompany) {
  for (const int bits : {3, 4, 8}) {
    for (const int group : {32, 64, 128}) {
      const auto q = quantize(random({133, 2176}), {group, bits}, mx::bfloat16);
      const auto x = random({64, 2176});
      const auto product = [&](const mx::array& part) {
        return quantized_matmul(part, q.w, q.scales, q.biases, {group, bits}, std::nullopt);
      };
      const auto all = product(x);
      for (const int m : {1, 2, 5, 6, 7, 31, 63}) {
        expect_equal_bits(rows(all, 64 - m, 64), product(rows(x, 64 - m, 64)), "last rows");
      }
    }
  }
}

TEST(Matmul, PromptRowsMatchTheFallbackBeyondOneStretch) {
  // Inputs beyond the first stretch are found again in place and in expanded weights.
  const auto x = random({7, 4224});
  for (const auto dtype : {mx::bfloat16, mx::float16}) {
    const auto w = random({37, 4224}, dtype);
    expect_matches_fallback([&] { return matmul(x, w, random({37})); }, "dense");
  }
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      const auto q = quantize(random({37, 4224}), {group, bits}, mx::bfloat16);
      expect_matches_fallback(
          [&] {
            return quantized_matmul(x, q.w, q.scales, q.biases, {group, bits}, std::nullopt);
          },
          fmt::format("bits {} group {}", bits, group));
    }
  }
}

TEST(QuantizedMatmul, ANotFiniteActivationIsNotHidden) {
  const auto q = quantize(random({9, 128}), {64, 4}, mx::bfloat16);
  std::vector<float> values(128, 1.0f);
  values[70] = std::numeric_limits<float>::quiet_NaN();
  const mx::array x(values.data(), {1, 128}, mx::float32);
  const auto y = as_decode_rows([&] {
    return quantized_matmul(x, q.w, q.scales, q.biases, {64, 4}, std::nullopt);
  });
  EXPECT_TRUE(mx::all(mx::isnan(y)).item<bool>());
}

TEST(Matmul, ARowKeepsItsBitsInAnyCompany) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    const auto x = random({33, 2051});  // 33 rows of it are more than one block
    const auto w = random({37, 2051}, dtype);
    const auto all = matmul(x, w, std::nullopt);
    for (int m = 1; m <= 33; ++m) {
      expect_equal_bits(rows(all, 0, m), matmul(rows(x, 0, m), w, std::nullopt), "first rows");
      expect_equal_bits(rows(all, m - 1, m), matmul(rows(x, m - 1, m), w, std::nullopt), "one row");
    }
  }
}

TEST(Matmul, RefusesWhatDoesNotFit) {
  EXPECT_ERROR(matmul(random({2, 5}), random({3, 4}), std::nullopt), ErrorKind::kInvalidData,
               "expected 4 inputs but got x of shape [2, 5]");
  EXPECT_ERROR(matmul(random({2, 4}), mx::zeros({3, 4}, mx::int32), std::nullopt),
               ErrorKind::kUnsupported, "got int32");
  EXPECT_ERROR(matmul(random({2, 4}), random({3, 4}), random({4})), ErrorKind::kInvalidData,
               "a bias of shape [3] but got [4]");
}

TEST(Matmul, GradientFollowsTheFallback) {
  const auto w = random({5, 16});
  testing::expect_equal_gradients(
      [&](const mx::array& x) { return matmul(x, w, std::nullopt); },
      [&](const mx::array& x) { return mx::matmul(x, mx::transpose(w)); }, random({3, 16}));
}

TEST(QuantizedMatmul, MatchesTheFallbackForEveryWidthAndGroup) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
        const Quantization affine{group, bits};
        const auto q = quantize(random({19, 256}), affine, dtype);
        const auto what = fmt::format("bits {} group {}", bits, group);
        for (const int m : {1, 2, 3, 7}) {
          const auto x = random({m, 256});
          expect_matches_fallback(
              [&] { return quantized_matmul(x, q.w, q.scales, q.biases, affine, random({19})); },
              what);
        }
        expect_matches_fallback(
            [&] {
              return embedding(mx::array({18, 0, 5, 5}),
                               {q.w, {}, affine, q.scales, q.biases, nullptr});
            },
            what + " embedding");
      }
    }
  }
}

TEST(QuantizedMatmul, ARowKeepsItsBitsInAnyCompany) {
  for (const int bits : {3, 4, 8}) {
    const Quantization affine{64, bits};
    const auto q = quantize(random({21, 576}), affine, mx::bfloat16);
    const auto product = [&](const mx::array& x) {
      return quantized_matmul(x, q.w, q.scales, q.biases, affine, std::nullopt);
    };
    const auto x = random({33, 576});
    const auto all = product(x);
    for (int m = 1; m <= 33; ++m) {
      expect_equal_bits(rows(all, 0, m), product(rows(x, 0, m)), "first rows");
      expect_equal_bits(rows(all, m - 1, m), product(rows(x, m - 1, m)), "one row");
    }
  }
}

// Weights of every kind that products tell apart, with a bias or without.
std::vector<Weight> weights_of_all_kinds(int n, int k) {
  std::vector<Weight> all;
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    all.push_back({.values = random({n, k}, dtype), .bias = random({n})});
  }
  for (const int bits : {3, 4, 8}) {
    const auto q = quantize(random({n, k}), {64, bits}, mx::bfloat16);
    all.push_back({q.w, {}, Quantization{64, bits}, q.scales, q.biases, nullptr});
  }
  if (multiplies_int8_rows()) {
    all.push_back(all.back());
    all.back().int8_rows = std::make_shared<Int8Rows>(int8_rows(all.back()));
  }
  return all;
}

mx::array activated(Activation activation, const mx::array& x) {
  switch (activation) {
    case Activation::kSilu:
      return silu(x);
    case Activation::kGeluExact:
      return gelu(x, Gelu::kExact);
    case Activation::kGeluTanh:
      return gelu(x, Gelu::kTanh);
    case Activation::kGeluQuick:
      return gelu(x, Gelu::kQuick);
    default:
      return x;
  }
}

constexpr Activation kActivations[] = {Activation::kNone, Activation::kSilu, Activation::kGeluExact,
                                       Activation::kGeluTanh, Activation::kGeluQuick};

TEST(Linear, WhatFollowsHasTheBitsOfTheOpsOneByOne) {
  // Beyond one panel of columns, one stretch of inputs and one block of rows of any variant.
  constexpr int m = 53, n = 101, k = 576;
  const auto x = random({m, k});
  const auto residual = random({m, n});
  for (const auto& w : weights_of_all_kinds(n, k)) {
    for (const int first_decode : {m, 50, 0}) {
      const DecodeRows scope(first_decode);
      const auto product = linear(x, w);
      for (const auto activation : kActivations) {
        const auto expected = activated(activation, product);
        expect_equal_bits(linear(x, w, {activation, {}}), expected, "activation");
        expect_equal_bits(linear(x, w, {activation, residual}), mx::add(residual, expected),
                          "activation and residual");
      }
    }
  }
}

TEST(Linear, AGateHasTheBitsOfTheOpsOneByOne) {
  constexpr int m = 53, n = 101, k = 576;
  const auto x = random({m, k});
  const auto gates = weights_of_all_kinds(n, k);
  const auto ups = weights_of_all_kinds(n, k);
  for (size_t i = 0; i < gates.size(); ++i) {
    for (const int first_decode : {m, 50, 0}) {
      const DecodeRows scope(first_decode);
      for (const auto activation : kActivations) {
        const auto expected = [&](const Weight& up) {
          return mx::multiply(activated(activation, linear(x, gates[i])), linear(x, up));
        };
        expect_equal_bits(gated_linear(x, gates[i], ups[i], activation), expected(ups[i]), "alike");
        const auto& other = ups[(i + 1) % ups.size()];  // of another kind
        expect_equal_bits(gated_linear(x, gates[i], other, activation), expected(other), "mixed");
      }
    }
  }
}

TEST(Linear, WhatFollowsMatchesTheFallback) {
  const auto x = random({21, 128});
  for (const auto& w : weights_of_all_kinds(70, 128)) {
    for (const auto activation : kActivations) {
      expect_matches_fallback([&] { return linear(x, w, {activation, random({21, 70})}); }, "end");
      expect_matches_fallback([&] { return gated_linear(x, w, w, activation); }, "gate");
    }
  }
}

#define SKIP_WITHOUT_INT8_ROWS() \
  if (!multiplies_int8_rows()) GTEST_SKIP() << "this processor multiplies no int8 rows"

Weight with_int8_rows(Weight weight) {
  weight.int8_rows = std::make_shared<Int8Rows>(int8_rows(weight));
  return weight;
}

float deviation(const mx::array& a, const mx::array& b) {
  return mx::sqrt(mx::mean(mx::square(mx::subtract(a, b)))).item<float>();
}

TEST(Int8Rows, AProductIsThatOfTheRoundedNumbers) {
  SKIP_WITHOUT_INT8_ROWS();
  for (const auto& [m, n, k] : {std::array{1, 5, 7}, std::array{13, 70, 1029}}) {
    const auto x = random({m, k});
    const auto w = random({n, k});
    const auto rounded = [](const mx::array& a) {
      const auto scale = mx::divide(mx::max(mx::abs(a), 1, true), mx::array(127.0f));
      return mx::multiply(mx::round(mx::divide(a, scale)), scale);
    };
    const auto expected = mx::matmul(rounded(x), mx::transpose(rounded(w)));
    const auto got = linear(x, with_int8_rows({.values = w}));
    // A number halfway between two may go either way.
    EXPECT_LT(deviation(got, expected), 2e-3f * std::sqrt(float(k))) << m << " " << k;
  }
}

TEST(Int8Rows, ARowKeepsItsBitsInAnyCompany) {
  SKIP_WITHOUT_INT8_ROWS();
  const auto q = quantize(random({133, 2176}), {64, 4}, mx::bfloat16);
  const auto w =
      with_int8_rows({q.w, random({133}), Quantization{64, 4}, q.scales, q.biases, nullptr});
  const auto x = random({64, 2176});
  const auto all = linear(x, w);
  for (const int m : {1, 2, 7, 8, 9, 63}) {
    expect_equal_bits(rows(all, 64 - m, 64), linear(rows(x, 64 - m, 64), w), "last rows");
  }
}

TEST(Int8Rows, CostLessThanFourBits) {
  // Beside the error that 4 bits bring to a product: for even inputs, and where one in a hundred is
  // up to 20 times as large, which one scale for a whole row feels most.
  SKIP_WITHOUT_INT8_ROWS();
  const int k = 2048;
  const auto w = random({256, k});
  const auto q = quantize(w, {64, 4}, mx::float32);
  const auto int8 = with_int8_rows({q.w, {}, Quantization{64, 4}, q.scales, q.biases, nullptr});
  const auto cost = [&](const mx::array& x) {
    const auto exact = mx::quantized_matmul(x, q.w, q.scales, q.biases, true, 64, 4);
    const auto four_bits = deviation(exact, mx::matmul(x, mx::transpose(w)));
    return deviation(linear(x, int8), exact) / four_bits;
  };
  const auto x = random({64, k});
  EXPECT_LT(cost(x), 0.15f);
  const auto chance = mx::random::uniform({k}, mx::float32, mx::random::key(7));
  const auto sizes = mx::random::uniform(2.0f, 20.0f, {k}, mx::float32, mx::random::key(8));
  const auto heavy = mx::less(chance, mx::array(0.01f));
  EXPECT_LT(cost(mx::multiply(x, mx::where(heavy, sizes, mx::array(1.0f)))), 0.6f);
}

TEST(Int8Rows, ANotFiniteActivationIsNotHidden) {
  SKIP_WITHOUT_INT8_ROWS();
  std::vector<float> values(64, 1.0f);
  values[9] = std::numeric_limits<float>::infinity();
  const mx::array x(values.data(), {1, 64}, mx::float32);
  const auto y = linear(x, with_int8_rows({.values = random({9, 64})}));
  EXPECT_TRUE(mx::all(mx::isnan(y)).item<bool>());
}

TEST(Int8Rows, ANotFiniteWeightIsNotHidden) {
  SKIP_WITHOUT_INT8_ROWS();
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> values(size_t{3} * 64, 1.0f);
    values[64 + 9] = bad;
    const mx::array w(values.data(), {3, 64}, mx::float32);
    const auto y = linear(random({5, 64}), with_int8_rows({.values = w}));
    const auto is_nan = mx::isnan(y);
    EXPECT_TRUE(mx::all(mx::slice(is_nan, {0, 1}, {5, 2})).item<bool>());
    EXPECT_EQ(mx::sum(is_nan).item<int>(), 5);
  }
}

TEST(Linear, RefusesResidualsAndGatesOfOtherShapes) {
  const Weight w{.values = random({8, 16})};
  EXPECT_ERROR(linear(random({2, 16}), w, {Activation::kNone, random({2, 7})}),
               ErrorKind::kInvalidData, "expected a residual of shape [2, 8] but got [2, 7]");
  EXPECT_ERROR(gated_linear(random({2, 16}), w, {.values = random({9, 16})}, Activation::kSilu),
               ErrorKind::kInvalidData, "[gated_linear]");
}

TEST(QuantizedMatmul, RefusesShapesThatDisagree) {
  const Quantization affine{64, 4};
  const auto q = quantize(random({8, 128}), affine, mx::float32);
  EXPECT_ERROR(quantized_matmul(random({1, 128}), q.w, q.scales, q.biases, {64, 8}, std::nullopt),
               ErrorKind::kInvalidData, "[quantized_matmul]");
  EXPECT_ERROR(quantized_matmul(random({1, 128}), q.w, q.scales, q.biases, {64, 7}, std::nullopt),
               ErrorKind::kInvalidData, "7 bits");
}

constexpr QuantizationMode kFloatModes[] = {QuantizationMode::kMxfp4, QuantizationMode::kNvfp4,
                                            QuantizationMode::kMxfp8};

Weight float_quantized(const mx::array& w, QuantizationMode mode) {
  const auto q = standard_quantization(mode);
  const auto parts = mx::quantize(w, q.group_size, q.bits, to_string(mode));
  return {.values = parts[0], .quantization = q, .scales = parts[1]};
}

// Bits, but for numbers that are none, which have no sign here.
void expect_same_floats(const mx::array& a, const mx::array& b, const std::string& what) {
  const auto none = mx::array(0.0f);
  EXPECT_TRUE(mx::array_equal(mx::isnan(a), mx::isnan(b)).item<bool>()) << what;
  expect_equal_bits(mx::where(mx::isnan(a), none, a), mx::where(mx::isnan(b), none, b), what);
}

TEST(FloatModes, EveryValueAndScaleIsWhatMlxReads) {
  for (const auto mode : kFloatModes) {
    const auto q = standard_quantization(mode);
    // A row for each scale, every value in it.
    const int k = 256;
    std::vector<uint8_t> bytes;
    std::vector<uint8_t> scales;
    for (int row = 0; row < 256; ++row) {
      for (int i = 0; i < k * q.bits / 8; ++i) bytes.push_back(static_cast<uint8_t>(i));
      scales.insert(scales.end(), static_cast<size_t>(k / q.group_size), static_cast<uint8_t>(row));
    }
    const mx::array packed =
        mx::view(mx::array(bytes.data(), {256, k * q.bits / 8}, mx::uint8), mx::uint32);
    const mx::array scale_bytes(scales.data(), {256, k / q.group_size}, mx::uint8);
    const auto expected = mx::dequantize(packed, scale_bytes, std::nullopt, q.group_size, q.bits,
                                         to_string(mode), std::nullopt, mx::float32);
    const auto got = embedding(mx::arange(256, mx::int32),
                               {.values = packed, .quantization = q, .scales = scale_bytes});
    expect_same_floats(got, expected, to_string(mode));
  }
}

TEST(FloatModes, ProductsMatchTheFallback) {
  for (const auto mode : kFloatModes) {
    for (const int k : {32, 96, 576, 2112}) {
      auto w = float_quantized(random({67, k}), mode);
      w.bias = random({67});
      for (const int m : {1, 13}) {
        const auto what = fmt::format("{} k {} m {}", to_string(mode), k, m);
        expect_matches_fallback([&] { return linear(random({m, k}), w); }, what);
        expect_matches_fallback(
            [&] { return as_decode_rows([&] {
                    return linear(random({m, k}), w);
                  }); },
            what + " decode");
      }
    }
  }
}

TEST(FloatModes, ARowKeepsItsBitsInAnyCompany) {
  for (const auto mode : kFloatModes) {
    const auto w = float_quantized(random({53, 1088}), mode);
    const auto x = random({20, 1088});
    const auto all = linear(x, w);
    for (const int m : {1, 7, 19}) {
      expect_equal_bits(rows(all, 20 - m, 20), linear(rows(x, 20 - m, 20), w), to_string(mode));
    }
  }
}

TEST(FloatModes, RefusesOtherGroupsAndBiases) {
  auto w = float_quantized(random({8, 64}), QuantizationMode::kMxfp4);
  auto with_biases = w;
  with_biases.biases = w.scales;
  EXPECT_ERROR(linear(random({1, 64}), with_biases), ErrorKind::kInvalidData, "(mxfp4)");
  w.quantization->group_size = 64;
  EXPECT_ERROR(linear(random({1, 64}), w), ErrorKind::kInvalidData, "groups of 64 (mxfp4)");
}

TEST(Embedding, TakesRows) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    const auto table = random({11, 13}, dtype);
    expect_matches_fallback(
        [&] {
          return embedding(mx::array({3, 10, 0}), {.values = table});
        },
        "embedding");
  }
}

}  // namespace
}  // namespace fovea::kernels
