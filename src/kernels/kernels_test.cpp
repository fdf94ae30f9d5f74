// Every op against its fallback in plain MLX ops: odd sizes, strided inputs, all dtypes, and bits
// that must not depend on company.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/check.h"
#include "kernels/isa/isa.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/op.h"
#include "kernels/rope.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "support/expect_error.h"

namespace fovea::kernels {
namespace {

mx::array random(mx::Shape shape, mx::Dtype dtype = mx::float32) {
  static uint64_t seed = 1;
  return mx::astype(mx::random::normal(shape, mx::float32, mx::random::key(seed++)), dtype);
}

// Runs `op` with checks on, so that its fallback is run too, and expects agreement.
void expect_matches_fallback(const std::function<mx::array()>& op, const std::string& what) {
  set_checks(true);
  mx::eval(op());
  set_checks(false);
  const auto report = check_report();
  EXPECT_GT(report.checked, 0) << what;
  if (report.first_mismatch) {
    const auto& m = *report.first_mismatch;
    ADD_FAILURE() << what << ": " << m.op << " " << m.shape << " at " << m.index << " kernel "
                  << m.kernel << " fallback " << m.fallback;
  }
}

void expect_equal_bits(const mx::array& a, const mx::array& b, const std::string& what) {
  mx::array left = mx::contiguous(a);
  mx::array right = mx::contiguous(b);
  mx::eval({left, right});
  ASSERT_EQ(left.shape(), right.shape()) << what;
  EXPECT_EQ(std::memcmp(left.data<float>(), right.data<float>(), left.nbytes()), 0) << what;
}

mx::array rows(const mx::array& x, int begin, int end) {
  mx::Shape start(x.ndim(), 0);
  mx::Shape stop = x.shape();
  start[0] = begin;
  stop[0] = end;
  return mx::slice(x, start, stop);
}

TEST(Matmul, MatchesTheFallbackOverOddSizesAndDtypes) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    for (const int m : {1, 2, 3, 5, 16}) {
      for (const int n : {1, 3, 4, 7, 65}) {
        for (const int k : {1, 7, 8, 9, 64, 77}) {
          const auto x = random({m, k});
          const auto w = random({n, k}, dtype);
          const auto bias = random({n});
          const auto what = fmt::format("m {} n {} k {}", m, n, k);
          expect_matches_fallback([&] { return matmul(x, w, std::nullopt); }, what);
          expect_matches_fallback([&] { return matmul(x, w, bias); }, what + " bias");
        }
      }
    }
  }
}

TEST(Matmul, TakesStridedAndHigherRankInputs) {
  const auto x = mx::transpose(random({24, 10}));
  const auto w = mx::transpose(random({24, 6}));
  expect_matches_fallback([&] { return matmul(x, w, std::nullopt); }, "strided");
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

TEST(Matmul, ARowKeepsItsBitsInAnyCompany) {
  const auto x = random({33, 203});
  const auto w = random({37, 203}, mx::bfloat16);
  const auto all = matmul(x, w, std::nullopt);
  for (int m = 1; m <= 33; ++m) {
    expect_equal_bits(rows(all, 0, m), matmul(rows(x, 0, m), w, std::nullopt), "first rows");
    expect_equal_bits(rows(all, m - 1, m), matmul(rows(x, m - 1, m), w, std::nullopt), "one row");
  }
}

TEST(Matmul, RefusesWhatDoesNotFit) {
  EXPECT_ERROR(matmul(random({2, 5}), random({3, 4}), std::nullopt), ErrorKind::kInvalidData,
               "expected 4 inputs but got x of shape [2, 5]");
  EXPECT_ERROR(matmul(random({2, 4}), mx::zeros({3, 4}, mx::int32), std::nullopt),
               ErrorKind::kUnsupported, "got int32");
}

struct Quantized {
  mx::array w, scales, biases;
};

Quantized quantize(const mx::array& w, const Affine& affine, mx::Dtype dtype) {
  const auto parts = mx::quantize(w, affine.group_size, affine.bits);
  return {parts[0], mx::astype(parts[1], dtype), mx::astype(parts[2], dtype)};
}

TEST(QuantizedMatmul, MatchesTheFallbackForEveryWidthAndGroup) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
        const Affine affine{group, bits};
        const auto q = quantize(random({19, 256}), affine, dtype);
        const auto what = fmt::format("bits {} group {}", bits, group);
        for (const int m : {1, 3, 7}) {
          const auto x = random({m, 256});
          expect_matches_fallback(
              [&] { return quantized_matmul(x, q.w, q.scales, q.biases, affine, random({19})); },
              what);
        }
        expect_matches_fallback(
            [&] {
              return quantized_embedding(mx::array({18, 0, 5, 5}), q.w, q.scales, q.biases, affine);
            },
            what + " embedding");
      }
    }
  }
}

TEST(QuantizedMatmul, RefusesShapesThatDisagree) {
  const Affine affine{64, 4};
  const auto q = quantize(random({8, 128}), affine, mx::float32);
  EXPECT_ERROR(quantized_matmul(random({1, 128}), q.w, q.scales, q.biases, {64, 8}, std::nullopt),
               ErrorKind::kInvalidData, "[quantized_matmul]");
  EXPECT_ERROR(quantized_matmul(random({1, 128}), q.w, q.scales, q.biases, {64, 7}, std::nullopt),
               ErrorKind::kInvalidData, "7 bits");
}

TEST(Embedding, TakesRows) {
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    const auto table = random({11, 13}, dtype);
    expect_matches_fallback([&] { return embedding(mx::array({3, 10, 0}), table); }, "embedding");
  }
}

TEST(Norm, MatchesTheFallback) {
  for (const int d : {1, 5, 8, 24, 100}) {
    const auto x = random({3, 4, d});
    expect_matches_fallback([&] { return rms_norm(x, random({d}), 1e-6f); }, "rms");
    if (d == 1) continue;  // the variance of one value is nothing but rounding
    expect_matches_fallback([&] { return layer_norm(x, random({d}), random({d}), 1e-5f); },
                            "layer");
  }
  EXPECT_ERROR(rms_norm(random({2, 4}), random({5}), 1e-6f), ErrorKind::kInvalidData, "[norm]");
}

TEST(Activation, MatchesTheFallbackOverTheWholeRange) {
  const auto x = mx::linspace(-40, 40, 10007);
  for (const auto kind : {Gelu::kExact, Gelu::kTanh, Gelu::kQuick}) {
    expect_matches_fallback([&] { return gelu(x, kind); }, "gelu");
  }
  expect_matches_fallback([&] { return swiglu(x, random({10007})); }, "swiglu");
  const auto wild = mx::array({-1e30f, -1000.0f, 0.0f, 1000.0f, 1e30f});
  expect_matches_fallback([&] { return swiglu(wild, mx::ones({5})); }, "extremes");
}

TEST(Rope, MatchesTheFallbackWholeAndPartial) {
  for (const int r : {1, 4, 8}) {
    expect_matches_fallback(
        [&] {
          return rope(random({5, 3, 16}), random({5, r}), random({5, r}));
        },
        "rope");
  }
  EXPECT_ERROR(rope(random({5, 3, 16}), random({5, 9}), random({5, 9})), ErrorKind::kInvalidData,
               "[rope]");
}

TEST(Attention, MatchesTheFallbackForHeadsWindowsAndCaps) {
  for (const int d : {8, 20, 64, 80}) {
    for (const int past : {0, 1, 63, 64, 130}) {
      for (const auto& options : {AttentionOptions{0.3f, 0, 0}, AttentionOptions{0.3f, 17, 0},
                                  AttentionOptions{0.3f, 0, 5.0f}}) {
        const auto q = random({7, 6, d});
        const auto k = random({200, 2, d});
        const auto v = random({200, 2, d});
        expect_matches_fallback([&] { return causal_attention(q, k, v, past, options); },
                                fmt::format("d {} past {} window {}", d, past, options.window));
      }
    }
  }
}

TEST(Attention, SegmentsSeeOnlyThemselves) {
  const auto q = random({90, 3, 16});
  const auto k = random({90, 3, 16});
  const auto v = random({90, 3, 16});
  expect_matches_fallback(
      [&] {
        return segment_attention(q, k, v, {0, 1, 13, 90}, 0.25f);
      },
      "segments");
  const auto together = segment_attention(q, k, v, {0, 64, 90}, 0.25f);
  expect_equal_bits(
      rows(together, 0, 64),
      segment_attention(rows(q, 0, 64), rows(k, 0, 64), rows(v, 0, 64), {0, 64}, 0.25f),
      "first segment");
}

TEST(Attention, ChunkingDoesNotChangeBits) {
  const auto q = random({150, 4, 32});
  const auto k = random({150, 2, 32});
  const auto v = random({150, 2, 32});
  const AttentionOptions options{0.2f, 0, 0};
  const auto whole = causal_attention(q, k, v, 0, options);
  for (const int chunk : {1, 3, 7, 64, 100}) {
    for (int at = 0; at < 150; at += chunk) {
      const int end = std::min(150, at + chunk);
      expect_equal_bits(rows(whole, at, end), causal_attention(rows(q, at, end), k, v, at, options),
                        fmt::format("chunk {} at {}", chunk, at));
    }
  }
}

TEST(Attention, AppendsInPlace) {
  auto buffer = mx::zeros({10, 2, 4});
  mx::eval(buffer);
  const float* memory = buffer.data<float>();
  const auto first = random({3, 2, 4});
  const auto second = random({1, 2, 4});
  buffer = append_rows(append_rows(buffer, first, 0), second, 3);
  expect_equal_bits(rows(buffer, 0, 3), first, "first rows");
  expect_equal_bits(rows(buffer, 3, 4), second, "next row");
  EXPECT_EQ(buffer.data<float>(), memory);
}

TEST(Gradient, FollowsTheFallback) {
  const auto w = random({5, 16});
  const auto loss = [&](const mx::array& x) {
    return mx::sum(mx::square(matmul(x, w, std::nullopt)));
  };
  const auto plain = [&](const mx::array& x) {
    return mx::sum(mx::square(mx::matmul(x, mx::transpose(w))));
  };
  const auto x = random({3, 16});
  const auto got = mx::grad(loss)(x);
  const auto expected = mx::grad(plain)(x);
  EXPECT_TRUE(mx::allclose(got, expected, 1e-4, 1e-4).item<bool>());
}

TEST(Check, FindsAWrongKernel) {
  const auto wrong = [](const Arrays& in, float* y) {
    const Floats x(in[0]);
    std::copy(x.data(), x.data() + 6, y);
    y[4] += 1;
  };
  set_checks(true);
  mx::eval(
      make_op({"wrong", {2, 3}, wrong, [](const Arrays& in) { return in[0]; }}, {random({2, 3})}));
  set_checks(false);
  const auto report = check_report();
  ASSERT_TRUE(report.first_mismatch.has_value());
  EXPECT_EQ(report.first_mismatch->op, "wrong");
  EXPECT_EQ(report.first_mismatch->index, 4u);
  EXPECT_FLOAT_EQ(report.first_mismatch->kernel, report.first_mismatch->fallback + 1);
}

// Variants must agree bit for bit, so that an answer does not depend on the processor.
TEST(Isa, VariantsGiveTheSameBits) {
  const isa::Table* scalar = isa::find_table("scalar");
  const isa::Table* avx2 = isa::find_table("avx2");
  ASSERT_NE(scalar, nullptr);
  if (!avx2) GTEST_SKIP() << "this processor has no AVX2";
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    const int k = 77;
    auto x = random({5, k});
    auto w = random({9, k}, dtype);
    mx::eval({x, w});
    isa::WeightRows weights;
    weights.k = k;
    weights.data = w.data<void>();
    weights.dtype = dtype == mx::float32    ? isa::Float::kF32
                    : dtype == mx::bfloat16 ? isa::Float::kBF16
                                            : isa::Float::kF16;
    std::vector<float> scratch(4 * (k + 8));
    std::vector<float> a(45), b(45);
    scalar->product(x.data<float>(), 5, weights, 0, 9, nullptr, a.data(), 9, scratch.data());
    avx2->product(x.data<float>(), 5, weights, 0, 9, nullptr, b.data(), 9, scratch.data());
    EXPECT_EQ(a, b);
  }
  auto x = mx::multiply(random({1003}), mx::array(20.0f));
  auto y = random({1003});
  mx::eval({x, y});
  std::vector<float> a(1003), b(1003);
  scalar->swiglu(x.data<float>(), y.data<float>(), 1003, a.data());
  avx2->swiglu(x.data<float>(), y.data<float>(), 1003, b.data());
  EXPECT_EQ(a, b);
  scalar->rms_norm(x.data<float>(), y.data<float>(), 1e-6f, 1003, a.data());
  avx2->rms_norm(x.data<float>(), y.data<float>(), 1e-6f, 1003, b.data());
  EXPECT_EQ(a, b);
  scalar->layer_norm(x.data<float>(), y.data<float>(), y.data<float>(), 1e-6f, 1003, a.data());
  avx2->layer_norm(x.data<float>(), y.data<float>(), y.data<float>(), 1e-6f, 1003, b.data());
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace fovea::kernels
