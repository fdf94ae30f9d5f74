// Attention in plain MLX ops.
#include <algorithm>
#include <limits>
#include <optional>

#include "kernels/attention_work.h"
#include "kernels/kv_bytes.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

// 0 where a row sees the key, -inf elsewhere: [T, S].
mx::array visible(const std::vector<Stretch>& stretches, int rows, int keys) {
  std::vector<float> mask(static_cast<size_t>(rows) * static_cast<size_t>(keys),
                          -std::numeric_limits<float>::infinity());
  for (const auto& s : stretches) {
    for (int r = 0; r < s.rows(); ++r) {
      const auto row = mask.begin() + int64_t{s.first_row + r} * keys + s.first_key;
      const auto seen = s.seen[static_cast<size_t>(r)];
      std::fill(row + seen.begin, row + seen.end, 0.0f);
    }
  }
  return mx::array(mask.data(), {rows, keys}, mx::float32);
}

// softmax over the last axis of scores [H, T, S], with a sink of each head beside them; zeros where
// all scores are -inf.
mx::array softmax_weights(const mx::array& scores, const std::optional<mx::array>& sinks) {
  const auto lowest = mx::array(-std::numeric_limits<float>::infinity());
  auto peak = mx::max(scores, -1, true);
  const auto sink_H11 = sinks ? mx::reshape(*sinks, {-1, 1, 1}) : lowest;
  peak = mx::maximum(peak, sink_H11);
  const auto base = mx::stop_gradient(mx::where(mx::equal(peak, lowest), mx::array(0.0f), peak));
  const auto weights = mx::exp(mx::subtract(scores, base));
  const auto sum = mx::add(mx::sum(weights, -1, true), mx::exp(mx::subtract(sink_H11, base)));
  return mx::divide(weights, mx::where(mx::equal(sum, mx::array(0.0f)), mx::array(1.0f), sum));
}

}  // namespace

// Plain attention: q [T, H, D] over keys and values, the mask and sinks behind them.
mx::array attention_fallback(const Work& work, const Arrays& in) {
  const auto& options = work.options;
  const auto per_head = [&](const mx::array& x) {
    const bool heads_first = work.axes == KeyAxes::kHeadsFirst;
    const auto x_KCD = heads_first ? x : mx::transpose(x, {1, 0, 2});
    auto x_KSD = mx::slice(x_KCD, {0, 0, 0}, {work.heads.key, work.keys, x.shape(2)});
    if (x.dtype() == mx::uint8) {
      x_KSD = kv_from_bytes(x_KSD, work.heads.dim, options.kv_group_size);
    }
    const auto wide = mx::repeat(x_KSD, work.heads.query / work.heads.key, 0);
    return mx::astype(wide, mx::float32);
  };
  const auto q_HTD = mx::transpose(in[0], {1, 0, 2});
  auto scores = mx::multiply(mx::matmul(q_HTD, mx::swapaxes(per_head(in[1]), 1, 2)),
                             mx::array(options.scale));
  if (options.softcap > 0) {
    const mx::array cap(options.softcap);
    scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  }
  if (work.mask) scores = mx::add(scores, in[3]);
  scores = mx::add(scores, visible(work.stretches, in[0].shape(0), work.keys));
  const auto weights =
      softmax_weights(scores, work.sinks ? std::optional(in.back()) : std::nullopt);
  return mx::transpose(mx::matmul(weights, per_head(in[2])), {1, 0, 2});
}

}  // namespace fovea::kernels
