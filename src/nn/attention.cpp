#include "nn/attention.h"

#include <cmath>

#include "kernels/numerics.h"
#include "kernels/projection.h"
#include "kernels/rope.h"
#include "kernels/views.h"

namespace fovea::nn {

QkvProjection::QkvProjection(int in, int q_size, int kv_size, Linear::Bias bias, bool fused)
    : q_size_(q_size), kv_size_(kv_size) {
  if (fused) {
    parts_.emplace_back(in, q_size + 2 * kv_size, bias);
  } else {
    for (const int size : {q_size, kv_size, kv_size}) parts_.emplace_back(in, size, bias);
  }
}

std::array<mx::array, 3> QkvProjection::operator()(const mx::array& x_TD,
                                                   const RmsNorm& norm) const {
  if (auto* tap = InputTap::current()) tap->input(parts_[0], norm(x_TD));
  std::vector<kernels::Weight> weights;
  if (parts_.size() == 1) {
    const auto all = parts_[0].weight();
    int begin = 0;
    for (const int size : {q_size_, kv_size_, kv_size_}) {
      weights.push_back(kernels::rows_of(all, begin, begin + size));
      begin += size;
    }
  } else {
    for (const auto& part : parts_) weights.push_back(part.weight());
  }
  const auto all = kernels::products(x_TD, norm.row_norm(), weights);
  return {all[0], all[1], all[2]};
}

void QkvProjection::visit(Visitor& visitor) {
  if (parts_.size() == 1) {
    visitor.child("qkv_proj", parts_[0]);
    return;
  }
  visitor.child("q_proj", parts_[0]);
  visitor.child("k_proj", parts_[1]);
  visitor.child("v_proj", parts_[2]);
}

mx::Dtype kv_dtype_for(mx::Dtype weights) {
  const bool exact = weights == mx::float32 || kernels::numerics() == kernels::Numerics::kFloat32;
  return exact ? mx::float32 : mx::bfloat16;
}

Attention::Attention(const AttentionConfig& c)
    : config_(c),
      qkv_(c.hidden_size, c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim,
           c.qkv_bias, c.fused_qkv),
      o_proj_(c.num_attention_heads * c.head_dim, c.hidden_size, c.o_bias) {
  if (!c.qk_norm) return;
  q_norm_.emplace(c.head_dim, c.norm_eps, c.norm_offset);
  k_norm_.emplace(c.head_dim, c.norm_eps, c.norm_offset);
}

mx::array Attention::operator()(const mx::array& x_TD, const RmsNorm& norm, const RopeTables& rope,
                                int layer, KvCache& cache, std::span<const Segment> segments,
                                const std::optional<mx::array>& residual_TD) const {
  const int t = x_TD.shape(0);
  const auto heads = [&](const mx::array& x, int count) {
    return kernels::reshaped(x, {t, count, config_.head_dim});
  };
  const auto rotated = [&](const mx::array& x, const std::optional<RmsNorm>& head_norm,
                           const mx::array& cos_TR, const mx::array& sin_TR) {
    return kernels::rope(head_norm ? (*head_norm)(x) : x, cos_TR, sin_TR);
  };
  const auto [q, k, v] = qkv_(x_TD, norm);
  const auto q_THD =
      rotated(heads(q, config_.num_attention_heads), q_norm_,
              rope.query_cos_TR.value_or(rope.cos_TR), rope.query_sin_TR.value_or(rope.sin_TR));
  const auto k_TKD =
      rotated(heads(k, config_.num_key_value_heads), k_norm_, rope.cos_TR, rope.sin_TR);
  const auto v_TKD = heads(v, config_.num_key_value_heads);
  AttentionSpec spec;
  spec.scale =
      config_.scale > 0 ? config_.scale : 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  spec.softcap = config_.softcap;
  spec.window = config_.sliding_window;
  spec.kv_dtype = kv_layer().dtype;
  const auto out_THD = cache.attend(layer, q_THD, k_TKD, v_TKD, segments, spec);
  const auto out_TD = kernels::reshaped(out_THD, {t, o_proj_.in_size()});
  return o_proj_(out_TD, {.residual = residual_TD});
}

KvLayer Attention::kv_layer() const {
  return {config_.num_key_value_heads, config_.head_dim, kv_dtype_for(qkv_.dtype()),
          config_.sliding_window};
}

void Attention::visit(Visitor& visitor) {
  qkv_.visit(visitor);
  visitor.child("o_proj", o_proj_);
  if (q_norm_) visitor.child("q_norm", *q_norm_);
  if (k_norm_) visitor.child("k_norm", *k_norm_);
}

}  // namespace fovea::nn
