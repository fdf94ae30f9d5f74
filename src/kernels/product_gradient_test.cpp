#include "kernels/product_gradient.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_matches_fallback;
using testing::random;

Weight quantized(int n, int k, const Quantization& q) {
  const auto parts = mx::quantize(random({n, k}), q.group_size, q.bits, to_string(q.mode));
  Weight weight{.values = parts[0], .quantization = q, .scales = parts[1]};
  if (q.has_biases()) weight.biases = parts[2];
  return weight;
}

std::vector<Weight> weights(int n, int k) {
  std::vector<Weight> all;
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    all.push_back({.values = random({n, k}, dtype)});
  }
  for (const auto& q : {Quantization{32, 3}, Quantization{64, 4}, Quantization{128, 8},
                        standard_quantization(QuantizationMode::kMxfp4),
                        standard_quantization(QuantizationMode::kNvfp4),
                        standard_quantization(QuantizationMode::kMxfp8)}) {
    all.push_back(quantized(n, k, q));
  }
  return all;
}

TEST(ProductGradient, OfTheInputMatchesTheFallback) {
  // Beyond one panel of columns and one stretch of outputs, whole pairs of them and not.
  for (const int n : {1, 300, 331}) {
    for (const auto& w : weights(n, 384)) {
      for (const int m : {1, 13}) {
        expect_matches_fallback(
            [&] {
              return input_gradient(random({m, n}), w);
            },
            fmt::format("m {} n {}", m, n));
      }
    }
  }
}

TEST(ProductGradient, OfTheWeightMatchesTheFallback) {
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    for (const int m : {1, 13, 300}) {
      for (const int n : {1, 19}) {
        for (const int k : {7, 101}) {
          expect_matches_fallback(
              [&] {
                return weight_gradient(random({m, n}), random({m, k}), dtype);
              },
              fmt::format("m {} n {} k {}", m, n, k));
        }
      }
    }
  }
}

TEST(ProductGradient, OfNothingIsZero) {
  const auto of_weight = weight_gradient(mx::zeros({0, 5}), mx::zeros({0, 7}), mx::bfloat16);
  EXPECT_TRUE(mx::array_equal(of_weight, mx::zeros({5, 7})).item<bool>());
  const auto of_input = input_gradient(mx::zeros({3, 0}), {.values = mx::zeros({0, 7})});
  EXPECT_TRUE(mx::array_equal(of_input, mx::zeros({3, 7})).item<bool>());
}

TEST(ProductGradient, RefusesShapesThatDisagree) {
  EXPECT_ERROR(input_gradient(random({2, 5}), {.values = random({4, 8})}), ErrorKind::kInvalidData,
               "[input_gradient] expected 4 outputs but got dy of shape [2, 5]");
  EXPECT_ERROR(weight_gradient(random({2, 5}), random({3, 8}), mx::float32),
               ErrorKind::kInvalidData, "[weight_gradient]");
}

using Function = std::function<mx::array(const std::vector<mx::array>&)>;

// Gradients of all inputs of sum(f^2), each of its largest value's size.
void expect_same_gradients(const Function& f, const Function& plain,
                           const std::vector<mx::array>& inputs, float tolerance,
                           const std::string& what) {
  std::vector<int> all(inputs.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  const auto gradients = [&](const Function& of) {
    const auto loss = [&](const std::vector<mx::array>& in) { return mx::sum(mx::square(of(in))); };
    return mx::value_and_grad(loss, all)(inputs).second;
  };
  const auto got = gradients(f);
  const auto expected = gradients(plain);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(got[i].shape(), inputs[i].shape()) << what;
    EXPECT_EQ(got[i].dtype(), inputs[i].dtype()) << what;
    auto difference = mx::max(mx::abs(
        mx::subtract(mx::astype(got[i], mx::float32), mx::astype(expected[i], mx::float32))));
    auto size = mx::max(mx::abs(mx::astype(expected[i], mx::float32)));
    EXPECT_LE(difference.item<float>(), tolerance * size.item<float>()) << what << " input " << i;
  }
}

mx::array plain_linear(const mx::array& x, const mx::array& w, const mx::array& bias) {
  return mx::add(mx::matmul(x, mx::transpose(mx::astype(w, mx::float32))), bias);
}

TEST(ProductGradient, OfLinearIsThatOfPlainOps) {
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const float tolerance = dtype == mx::float32 ? 1e-4f : 3e-2f;
    for (const auto activation : {Activation::kNone, Activation::kSilu, Activation::kGeluTanh}) {
      const auto f = [&](const std::vector<mx::array>& in) {
        return linear(in[0], {.values = in[1], .bias = in[2]}, {activation, in[3]});
      };
      const auto plain = [&](const std::vector<mx::array>& in) {
        return mx::add(in[3], plain_activation(activation, plain_linear(in[0], in[1], in[2])));
      };
      expect_same_gradients(
          f, plain, {random({2, 3, 40}), random({21, 40}, dtype), random({21}), random({2, 3, 21})},
          tolerance, "linear");
    }
  }
}

TEST(ProductGradient, OfGatesIsThatOfPlainOps) {
  const auto f = [&](const std::vector<mx::array>& in) {
    return gated_linear(in[0], {.values = in[1], .bias = in[2]}, {.values = in[3], .bias = in[4]},
                        Activation::kSilu);
  };
  const auto plain = [&](const std::vector<mx::array>& in) {
    return mx::multiply(plain_activation(Activation::kSilu, plain_linear(in[0], in[1], in[2])),
                        plain_linear(in[0], in[3], in[4]));
  };
  expect_same_gradients(
      f, plain, {random({5, 40}), random({21, 40}), random({21}), random({21, 40}), random({21})},
      1e-4f, "gate");
}

TEST(ProductGradient, OfQuantizedProductsIsThatOfPlainOps) {
  const Quantization q{64, 4};
  const auto w = quantized(70, 128, q);
  const auto f = [&](const std::vector<mx::array>& in) {
    return linear(in[0], {.values = w.values, .quantization = q, .scales = in[1], .biases = in[2]});
  };
  const auto plain = [&](const std::vector<mx::array>& in) {
    return mx::quantized_matmul(in[0], w.values, in[1], in[2], true, 64, 4);
  };
  expect_same_gradients(f, plain, {random({5, 128}), *w.scales, *w.biases}, 3e-2f, "quantized");
}

}  // namespace
}  // namespace fovea::kernels
