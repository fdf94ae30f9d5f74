// A decoder's layer that looks at media states in place of the rows before it: what it takes from
// them, and its MLP, are added behind gates. Rows without states to look at pass unchanged. Source:
// Hugging Face modeling_mllama. Engine thread only.
//
// A blind row, before any picture, sees all states there, and only the MLP is kept from it; Meta's
// reference keeps both.
//
// Legend: T rows of a step, U those that look at states, S states of a sequence, D hidden size.
#pragma once

#include "nn/cross_attention.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace fovea::models::text {

namespace mx = mlx::core;

class CrossLayer : public nn::Module {
 public:
  CrossLayer(const nn::AttentionConfig& attention, int intermediate_size, nn::Linear::Bias mlp_bias,
             float eps);
  // `layer` counts the layers of this kind.
  void keep(const mx::array& states_SD, int layer, int sequence, nn::KvCache& cache) const {
    cross_attn_.keep(states_SD, layer, sequence, cache);
  }
  mx::array operator()(const mx::array& x_TD, int layer, nn::KvCache& cache,
                       std::span<const nn::LookingRows> looking) const;
  void visit(nn::Visitor& visitor) override;

 private:
  nn::RmsNorm input_layernorm_;
  nn::CrossAttention cross_attn_;
  nn::RmsNorm post_attention_layernorm_;
  nn::SwigluMlp mlp_;
  mx::array cross_attn_attn_gate_;
  mx::array cross_attn_mlp_gate_;
};

}  // namespace fovea::models::text
