#include "nn/span_attention.h"

#include <limits>

#include "mlx/ops.h"

namespace fovea::nn {
namespace {

// 0 for keys that a row sees, minus infinity for those behind its window: [T, S].
mx::array window_mask(int rows, int past, int window) {
  const auto newest = mx::reshape(mx::arange(past, past + rows, mx::int32), {rows, 1});
  const auto key = mx::reshape(mx::arange(past + rows, mx::int32), {1, past + rows});
  const auto seen = mx::greater(key, mx::subtract(newest, mx::array(window)));
  return mx::where(seen, mx::array(0.0f), mx::array(-std::numeric_limits<float>::infinity()));
}

}  // namespace

mx::array span_attention(const mx::array& q_THD, const mx::array& k_CKD, const mx::array& v_CKD,
                         int past, const AttentionSpec& spec) {
  const int t = q_THD.shape(0);
  const int heads = q_THD.shape(1);
  const int kv_heads = k_CKD.shape(1);
  const int d = q_THD.shape(2);
  // [K, 1, S, D], for the queries [K, H / K, T, D] that share a key head.
  const auto keys = [&](const mx::array& buffer) {
    const auto seen = mx::slice(buffer, {0, 0, 0}, {past + t, kv_heads, d});
    return mx::expand_dims(mx::transpose(mx::astype(seen, mx::float32), {1, 0, 2}), 1);
  };
  const auto queries =
      mx::transpose(mx::reshape(q_THD, {t, kv_heads, heads / kv_heads, d}), {1, 2, 0, 3});
  auto scores =
      mx::multiply(mx::matmul(queries, mx::swapaxes(keys(k_CKD), -1, -2)), mx::array(spec.scale));
  if (spec.softcap > 0) {
    const mx::array cap(spec.softcap);
    scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  }
  if (spec.window > 0) scores = mx::add(scores, window_mask(t, past, spec.window));
  const auto out = mx::matmul(mx::softmax(scores, -1, true), keys(v_CKD));
  return mx::reshape(mx::transpose(out, {2, 0, 1, 3}), {t, heads, d});
}

}  // namespace fovea::nn
