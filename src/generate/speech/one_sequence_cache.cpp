#include "generate/speech/one_sequence_cache.h"

#include <cassert>

#include "kernels/append_rows.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::generate {

void OneSequenceCache::watch(std::vector<Head> heads) {
  heads_ = std::move(heads);
  watched_.clear();
}

mx::array OneSequenceCache::attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                                   const mx::array& v_TKD, std::span<const nn::Segment> segments,
                                   const nn::AttentionSpec& spec) {
  assert(segments.size() == 1);
  const auto index = static_cast<size_t>(layer);
  if (index == rows_.size()) {
    const mx::Shape room = {k_TKD.shape(1), rows_max_, k_TKD.shape(2)};
    rows_.push_back({mx::zeros(room, spec.kv_dtype), mx::zeros(room, spec.kv_dtype)});
    mx::eval(rows_.back().k, rows_.back().v);
  }
  auto& [k, v] = rows_[index];
  k = kernels::append_rows(k, k_TKD, length_);
  v = kernels::append_rows(v, v_TKD, length_);
  kernels::AttentionOptions options{spec.scale};
  options.decode = segments[0].decode;
  const auto out_THD = kernels::causal_attention(q_THD, k, v, length_, options);
  if (layer + 1 == layers_) length_ += segments[0].count;
  return out_THD;
}

void OneSequenceCache::set_views(int, std::vector<nn::MediaView> views) {
  views_ = std::move(views);
  states_.clear();
}

void OneSequenceCache::keep_states(int layer, int, const mx::array& k_SKD, const mx::array& v_SKD,
                                   const nn::AttentionSpec& spec) {
  assert(static_cast<size_t>(layer) == states_.size());
  static_cast<void>(layer);
  const auto kept = [&](const mx::array& x_SKD) {
    const auto x_KSD = mx::contiguous(mx::transpose(mx::astype(x_SKD, spec.kv_dtype), {1, 0, 2}));
    return mx::transpose(x_KSD, {1, 0, 2});
  };
  states_.push_back({kept(k_SKD), kept(v_SKD)});
  mx::eval(states_.back().k, states_.back().v);
}

std::vector<nn::LookingRows> OneSequenceCache::looking_rows(
    std::span<const nn::Segment> segments) const {
  std::vector<nn::LookingRows> looking;
  for (const auto& segment : segments) nn::add_looking_rows(views_, segment, length_, looking);
  return looking;
}

mx::array OneSequenceCache::attend_across(int layer, const mx::array& q_UHD,
                                          std::span<const nn::LookingRows> looking,
                                          const nn::AttentionSpec& spec) {
  assert(looking.size() == 1);
  const Layer& states = states_.at(static_cast<size_t>(layer));
  if (layer == 0) watched_.clear();
  for (const auto& head : heads_) {
    if (head.layer != layer) continue;
    const auto of_head = [&](const mx::array& x) {
      return mx::astype(mx::take(x, mx::array(head.head), 1), mx::float32);
    };
    const auto scores = mx::multiply(mx::matmul(of_head(q_UHD), mx::transpose(of_head(states.k))),
                                     mx::array(spec.scale));
    watched_.push_back(mx::softmax(scores, -1, true));
  }
  kernels::AttentionOptions options{spec.scale};
  options.decode = looking[0].decode;
  return kernels::cross_attention(q_UHD, states.k, states.v, options);
}

}  // namespace fovea::generate
