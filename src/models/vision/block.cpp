#include "models/vision/block.h"

#include <cmath>

#include "kernels/attention.h"
#include "kernels/rope.h"
#include "mlx/ops.h"
#include "nn/attention.h"

namespace fovea::models::vision {

mx::array attend_within(const mx::array& q_PD, const mx::array& k_PD, const mx::array& v_PD,
                        int heads, const nn::RopeTables* rope, const std::vector<int>& cu_seqlens,
                        mx::Dtype weights) {
  const int p = q_PD.shape(0);
  const int head_dim = q_PD.shape(1) / heads;
  const auto split = [&](const mx::array& x) { return mx::reshape(x, {p, heads, head_dim}); };
  const auto turned = [&](const mx::array& x) {
    return rope ? kernels::rope(split(x), rope->cos_TR, rope->sin_TR) : split(x);
  };
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const auto products =
      weights == mx::float32 ? kernels::Products::kFloat32 : kernels::Products::kBFloat16;
  const auto out = kernels::segment_attention(turned(q_PD), turned(k_PD), split(v_PD), cu_seqlens,
                                              scale, products);
  return mx::reshape(out, {p, heads * head_dim});
}

mx::array attend_to(const mx::array& q_PD, const mx::array& k_SD, const mx::array& v_SD, int heads,
                    mx::Dtype weights) {
  const int head_dim = q_PD.shape(1) / heads;
  const auto split = [&](const mx::array& x) {
    return mx::reshape(x, {x.shape(0), heads, head_dim});
  };
  const auto kept = [&](const mx::array& x) {
    return mx::astype(split(x), nn::kv_dtype_for(weights));
  };
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const auto out = kernels::cross_attention(split(q_PD), kept(k_SD), kept(v_SD), {.scale = scale});
  return mx::reshape(out, q_PD.shape());
}

VitAttention::VitAttention(int dim, int heads, nn::Linear::Bias k_bias)
    : heads_(heads),
      q_proj_(dim, dim, nn::Linear::Bias::kPresent),
      k_proj_(dim, dim, k_bias),
      v_proj_(dim, dim, nn::Linear::Bias::kPresent),
      out_proj_(dim, dim, nn::Linear::Bias::kPresent) {}

mx::array VitAttention::operator()(const mx::array& x_PD, const std::vector<int>& cu_seqlens,
                                   const mx::array& residual_PD) const {
  const auto mixed = attend_within(q_proj_(x_PD), k_proj_(x_PD), v_proj_(x_PD), heads_, nullptr,
                                   cu_seqlens, q_proj_.dtype());
  return out_proj_(mixed, {.residual = residual_PD});
}

void VitAttention::visit(nn::Visitor& visitor) {
  visitor.child("q_proj", q_proj_);
  visitor.child("k_proj", k_proj_);
  visitor.child("v_proj", v_proj_);
  visitor.child("out_proj", out_proj_);
}

VitBlock::VitBlock(int dim, int hidden, int heads, float eps, kernels::Gelu gelu,
                   nn::Linear::Bias k_bias)
    : layer_norm1_(dim, eps),
      self_attn_(dim, heads, k_bias),
      layer_norm2_(dim, eps),
      mlp_(dim, hidden, dim, gelu) {}

mx::array VitBlock::operator()(const mx::array& x_PD, const std::vector<int>& cu_seqlens) const {
  const auto h_PD = self_attn_(layer_norm1_(x_PD), cu_seqlens, x_PD);
  return mlp_(layer_norm2_(h_PD), h_PD);
}

void VitBlock::visit(nn::Visitor& visitor) {
  visitor.child("layer_norm1", layer_norm1_);
  visitor.child("self_attn", self_attn_);
  visitor.child("layer_norm2", layer_norm2_);
  visitor.child("mlp", mlp_);
}

}  // namespace fovea::models::vision
