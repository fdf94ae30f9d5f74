#include "kernels/kv_bytes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/attention.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::expect_matches_fallback;
using testing::random;
using testing::rows;

// Rows [T, K, D] in a fresh buffer with room for more.
mx::array kept(const mx::array& rows_TKD, int group_size) {
  const int bytes = kv_row_bytes(rows_TKD.shape(2), group_size);
  const auto empty = mx::zeros({rows_TKD.shape(1), rows_TKD.shape(0) + 3, bytes}, mx::uint8);
  return append_kv_bytes(empty, rows_TKD, 0, group_size);
}

mx::array restored(const mx::array& rows_TKD, int group_size) {
  const auto all = kv_from_bytes(kept(rows_TKD, group_size), rows_TKD.shape(2), group_size);
  const auto stop = mx::Shape{all.shape(0), rows_TKD.shape(0), all.shape(2)};
  return mx::transpose(mx::slice(all, {0, 0, 0}, stop), {1, 0, 2});
}

// Keys have channels far above the others.
mx::array heavy_tailed(mx::Shape shape) {
  const int dim = shape.back();
  const auto x = random(std::move(shape));
  const auto outlier = mx::equal(mx::remainder(mx::arange(dim), mx::array(129)), mx::array(5));
  return mx::multiply(x, mx::where(outlier, mx::array(30.0f), mx::array(1.0f)));
}

float root_mean_square(const mx::array& x) {
  return std::sqrt(mx::mean(mx::square(x)).item<float>());
}

TEST(KvBytes, AreWithinHalfAScaleOfEachGroup) {
  for (const int dim : {20, 64, 72, 80, 96, 128, 256}) {
    for (const int group : {32, 64, 128}) {
      const auto x = heavy_tailed({9, 3, dim});
      const auto error = mx::abs(mx::subtract(restored(x, group), x));
      for (int at = 0; at < dim; at += group) {
        const int end = std::min(at + group, dim);
        const auto part = [&](const mx::array& a) { return mx::slice(a, {0, 0, at}, {9, 3, end}); };
        const auto range = mx::subtract(mx::max(part(x), -1), mx::min(part(x), -1));
        const auto bound = mx::add(mx::multiply(range, mx::array(0.5001f / 255)), mx::array(1e-6f));
        EXPECT_TRUE(mx::all(mx::less_equal(mx::max(part(error), -1), bound)).item<bool>())
            << "head size " << dim << " group " << group << " at " << at;
      }
    }
  }
}

TEST(KvBytes, SmallerGroupsKeepOutliersToThemselves) {
  const auto x = heavy_tailed({200, 2, 128});
  const auto error = [&](int group) {
    return root_mean_square(mx::subtract(restored(x, group), x));
  };
  EXPECT_LT(error(32), 0.8f * error(64));
  EXPECT_LT(error(64), 0.8f * error(128));
  // In deviations of the other channels: channels 0 to 63 have an outlier among them.
  const auto difference = mx::subtract(restored(x, 64), x);
  const auto half = [&](int at) { return mx::slice(difference, {0, 0, at}, {200, 2, at + 64}); };
  EXPECT_NEAR(root_mean_square(half(0)), 0.036f, 0.004f);
  EXPECT_NEAR(root_mean_square(half(64)), 0.0054f, 0.0004f);
}

TEST(KvBytes, KeepConstantsAndTellOfWildValues) {
  const auto flat = mx::full({2, 1, 64}, -3.5f);
  expect_equal_bits(restored(flat, 64), flat, "one value");
  const auto huge = mx::full({1, 1, 64}, 3e38f);
  expect_equal_bits(restored(huge, 32), huge, "large values");
  const auto zero_but_one = [](float value) {
    return mx::where(mx::equal(mx::arange(64), mx::array(40)), mx::array(value), mx::array(0.0f));
  };
  for (const float wild : {NAN, INFINITY}) {
    const auto y = mx::reshape(restored(mx::reshape(zero_but_one(wild), {1, 1, 64}), 32), {64});
    EXPECT_TRUE(mx::all(mx::isnan(mx::slice(y, {32}, {64}))).item<bool>());
    expect_equal_bits(mx::slice(y, {0}, {32}), mx::zeros({32}), "the other group");
  }
}

// Queries that meet an outlier are rounded to bfloat16 too: at this scale the largest scores stay
// below 6, so that their error is within what products in bfloat16 may cost.
TEST(KvBytes, AttentionReadsThem) {
  mx::random::seed(3);
  for (const int dim : {32, 64, 72, 80, 96, 128, 256}) {
    for (const int heads : {2, 6, 14}) {
      const auto q = random({5, heads, dim});
      const auto k = heavy_tailed({301, 2, dim});
      const auto v = random({301, 2, dim});
      for (const int group : {32, 64, 128}) {
        AttentionOptions options{0.015f, 0, 0};
        options.kv_group_size = group;
        const auto kept_k = kept(k, group), kept_v = kept(v, group);
        for (const bool decode : {false, true}) {
          options.decode = decode;
          const auto what =
              fmt::format("d {} heads {} group {} decode {}", dim, heads, group, decode);
          expect_matches_fallback([&] { return causal_attention(q, kept_k, kept_v, 296, options); },
                                  what);
        }
      }
    }
  }
}

TEST(KvBytes, ARowKeepsItsBitsInAnyCompany) {
  const auto q = random({40, 6, 64});
  const auto k = kept(heavy_tailed({700, 2, 64}), 64);
  const auto v = kept(random({700, 2, 64}), 64);
  for (const auto products : {Products::kFloat32, Products::kBFloat16}) {
    for (const bool decode : {false, true}) {
      AttentionOptions options{0.1f, 0, 0, decode};
      options.products = products;
      const auto all = causal_attention(q, k, v, 660, options);
      for (const int row : {0, 7, 39}) {
        expect_equal_bits(causal_attention(rows(q, row, row + 1), k, v, 660 + row, options),
                          rows(all, row, row + 1), "row");
      }
    }
  }
}

TEST(KvBytes, AppendOneByOneAsTogether) {
  const auto x = heavy_tailed({7, 3, 80});
  auto buffer = mx::zeros({3, 10, kv_row_bytes(80, 32)}, mx::uint8);
  for (int i = 0; i < 7; ++i) buffer = append_kv_bytes(buffer, rows(x, i, i + 1), i, 32);
  EXPECT_TRUE(mx::array_equal(buffer, kept(x, 32)).item<bool>());
}

TEST(KvBytes, RefusesWhatDoesNotFit) {
  const auto x = random({2, 2, 64});
  EXPECT_ERROR(kv_row_bytes(64, 48), ErrorKind::kInvalidArgument, "32, 64 or 128 but got 48");
  EXPECT_ERROR(append_kv_bytes(mx::zeros({2, 4, 64}, mx::uint8), x, 0, 64), ErrorKind::kInvalidData,
               "[append_kv_bytes]");
  EXPECT_ERROR(append_kv_bytes(mx::zeros({2, 4, 72}), x, 0, 64), ErrorKind::kUnsupported,
               "uint8 buffer on the CPU but got float32");
  const auto bytes = kept(x, 64);
  EXPECT_ERROR(causal_attention(random({1, 2, 30}), bytes, bytes, 0, {}), ErrorKind::kInvalidData,
               "[attention]");
}

}  // namespace
}  // namespace fovea::kernels
