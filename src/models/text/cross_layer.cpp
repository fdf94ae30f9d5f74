#include "models/text/cross_layer.h"

#include <algorithm>

#include "kernels/numerics.h"
#include "mlx/ops.h"

namespace fovea::models::text {
namespace {

// How much a gate lets through.
mx::array openness(const mx::array& gate) { return mx::tanh(mx::astype(gate, mx::float32)); }

// [U, 1]: 0 for blind rows, 1 for all others.
mx::array seeing(std::span<const nn::LookingRows> looking) {
  std::vector<float> factors;
  for (const auto& rows : looking) {
    factors.insert(factors.end(), static_cast<size_t>(rows.count), rows.blind ? 0.0f : 1.0f);
  }
  return mx::array(factors.data(), {static_cast<int>(factors.size()), 1}, mx::float32);
}

// Which self-attention has not.
nn::AttentionConfig with_norms(nn::AttentionConfig config) {
  config.qk_norm = true;
  return config;
}

}  // namespace

CrossLayer::CrossLayer(const nn::AttentionConfig& attention, int intermediate_size,
                       nn::Linear::Bias mlp_bias, float eps)
    : input_layernorm_(attention.hidden_size, eps),
      cross_attn_(with_norms(attention)),
      post_attention_layernorm_(attention.hidden_size, eps),
      mlp_(attention.hidden_size, intermediate_size, mlp_bias),
      cross_attn_attn_gate_(mx::zeros({1})),
      cross_attn_mlp_gate_(mx::zeros({1})) {}

mx::array CrossLayer::operator()(const mx::array& x_TD, int layer, nn::KvCache& cache,
                                 std::span<const nn::LookingRows> looking) const {
  if (looking.empty()) return x_TD;
  const kernels::DecodeRows rows_of_answers(nn::first_decode_row(looking));
  const auto x_UD = nn::rows_that_look(x_TD, looking);
  const auto taken_UD = cross_attn_(x_UD, input_layernorm_, layer, cache, looking);
  const auto h_UD = mx::add(x_UD, mx::multiply(taken_UD, openness(cross_attn_attn_gate_)));
  auto out_UD = mx::multiply(mlp_(h_UD, post_attention_layernorm_, std::nullopt),
                             openness(cross_attn_mlp_gate_));
  const bool any_blind =
      std::any_of(looking.begin(), looking.end(), [](const auto& rows) { return rows.blind; });
  if (any_blind) out_UD = mx::multiply(out_UD, seeing(looking));
  return nn::with_rows_that_look(x_TD, mx::add(h_UD, out_UD), looking);
}

void CrossLayer::visit(nn::Visitor& visitor) {
  visitor.child("input_layernorm", input_layernorm_);
  visitor.child("cross_attn", cross_attn_);
  visitor.parameter("cross_attn_attn_gate", cross_attn_attn_gate_);
  visitor.child("post_attention_layernorm", post_attention_layernorm_);
  visitor.child("mlp", mlp_);
  visitor.parameter("cross_attn_mlp_gate", cross_attn_mlp_gate_);
}

}  // namespace fovea::models::text
