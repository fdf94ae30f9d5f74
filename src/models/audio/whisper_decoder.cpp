#include "models/audio/whisper_decoder.h"

#include <cmath>

#include "kernels/numerics.h"
#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::models::audio {
namespace {

constexpr float kEps = 1e-5f;
using Bias = nn::Linear::Bias;

nn::AttentionConfig attention_config(const WhisperConfig& config) {
  nn::AttentionConfig c;
  c.hidden_size = config.d_model;
  c.num_attention_heads = c.num_key_value_heads = config.decoder_attention_heads;
  c.head_dim = config.d_model / config.decoder_attention_heads;
  c.qkv_bias = c.o_bias = Bias::kPresent;
  c.k_bias = Bias::kNone;
  return c;
}

int first_answer_row(std::span<const nn::Segment> segments, int rows) {
  for (const auto& segment : segments) {
    if (segment.decode) return segment.begin;
  }
  return rows;
}

mx::array chosen_rows(const mx::array& x_TD, std::span<const int> rows) {
  std::vector<mx::array> parts;
  for (const int row : rows) parts.push_back(kernels::rows_of(x_TD, row, row + 1));
  return kernels::joined_rows(parts);
}

}  // namespace

WhisperDecoderLayer::WhisperDecoderLayer(const WhisperConfig& c)
    : heads_(c.decoder_attention_heads),
      self_attn_layer_norm_(c.d_model, kEps),
      q_proj_(c.d_model, c.d_model, Bias::kPresent),
      k_proj_(c.d_model, c.d_model, Bias::kNone),
      v_proj_(c.d_model, c.d_model, Bias::kPresent),
      o_proj_(c.d_model, c.d_model, Bias::kPresent),
      encoder_attn_layer_norm_(c.d_model, kEps),
      encoder_attn_(attention_config(c)),
      final_layer_norm_(c.d_model, kEps),
      mlp_(c.d_model, c.decoder_ffn_dim, c.d_model, kernels::Gelu::kExact) {}

nn::KvLayer WhisperDecoderLayer::kv_layer() const {
  return {heads_, k_proj_.out_size() / heads_, nn::kv_dtype_for(k_proj_.dtype())};
}

// With the residual added.
mx::array WhisperDecoderLayer::attend(const mx::array& x_TD, int layer, nn::KvCache& cache,
                                      std::span<const nn::Segment> segments) const {
  const int t = x_TD.shape(0);
  const int head_dim = x_TD.shape(1) / heads_;
  const auto normed = self_attn_layer_norm_(x_TD);
  const auto heads = [&](const mx::array& x) {
    return kernels::reshaped(x, {t, heads_, head_dim});
  };
  nn::AttentionSpec spec;
  spec.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  spec.kv_dtype = kv_layer().dtype;
  const auto out_THD = cache.attend(layer, heads(q_proj_(normed)), heads(k_proj_(normed)),
                                    heads(v_proj_(normed)), segments, spec);
  return o_proj_(kernels::reshaped(out_THD, {t, heads_ * head_dim}), {.residual = x_TD});
}

mx::array WhisperDecoderLayer::operator()(const mx::array& x_TD, int layer, nn::KvCache& cache,
                                          std::span<const nn::Segment> segments,
                                          std::span<const nn::LookingRows> looking) const {
  auto h_TD = attend(x_TD, layer, cache, segments);
  if (!looking.empty()) {
    const auto h_UD = nn::rows_that_look(h_TD, looking);
    const auto taken_UD = encoder_attn_(encoder_attn_layer_norm_(h_UD), layer, cache, looking);
    h_TD = nn::with_rows_that_look(h_TD, mx::add(h_UD, taken_UD), looking);
  }
  return mlp_(final_layer_norm_(h_TD), h_TD);
}

void WhisperDecoderLayer::visit(nn::Visitor& visitor) {
  visitor.child("self_attn_layer_norm", self_attn_layer_norm_);
  visitor.child("self_attn.q_proj", q_proj_);
  visitor.child("self_attn.k_proj", k_proj_);
  visitor.child("self_attn.v_proj", v_proj_);
  visitor.child("self_attn.o_proj", o_proj_);
  visitor.child("encoder_attn_layer_norm", encoder_attn_layer_norm_);
  visitor.child("encoder_attn", encoder_attn_);
  visitor.child("final_layer_norm", final_layer_norm_);
  visitor.child("mlp", mlp_);
}

WhisperDecoder::WhisperDecoder(const WhisperConfig& config)
    : embed_tokens_(config.vocab_size, config.d_model),
      positions_(mx::zeros({config.max_target_positions, config.d_model})),
      layer_norm_(config.d_model, kEps) {
  for (int i = 0; i < config.decoder_layers; ++i) layers_.emplace_back(config);
}

std::vector<nn::KvLayer> WhisperDecoder::kv_layers() const {
  std::vector<nn::KvLayer> layers;
  for (const auto& layer : layers_) layers.push_back(layer.kv_layer());
  return layers;
}

void WhisperDecoder::keep_states(const mx::array& states_SD, int sequence,
                                 nn::KvCache& cache) const {
  for (int i = 0; const auto& layer : layers_) layer.keep(states_SD, i++, sequence, cache);
}

mx::array WhisperDecoder::forward(const Batch& batch, nn::KvCache& cache,
                                  const StageSink& sink) const {
  const int t = batch.inputs_embeds_TD.shape(0);
  const auto positions_TD =
      mx::take(mx::astype(positions_, mx::float32), mx::reshape(batch.position_ids_AT, {t}), 0);
  auto x_TD = mx::add(batch.inputs_embeds_TD, positions_TD);
  const kernels::DecodeRows rows_of_answers(first_answer_row(batch.segments, t));
  const auto looking = cache.looking_rows(batch.segments);
  for (int i = 0; const auto& layer : layers_) {
    x_TD = layer(x_TD, i, cache, batch.segments, looking);
    if (sink) sink(fmt::format("hidden.{}", i), x_TD);
    ++i;
  }
  if (batch.logits_rows.empty()) return mx::zeros({0, embed_tokens_.out_size()});
  // One row of a prompt would have the whole vocabulary expanded for it.
  const kernels::DecodeRows all(0);
  return kernels::linear(layer_norm_(chosen_rows(x_TD, batch.logits_rows)), embed_tokens_.weight());
}

void WhisperDecoder::visit_layers(nn::Visitor& visitor) {
  for (auto& layer : layers_) layer.visit(visitor);
}

void WhisperDecoder::visit(nn::Visitor& visitor) {
  visitor.child("embed_tokens", embed_tokens_);
  visitor.parameter("embed_positions.weight", positions_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.child(fmt::format("layers.{}", i), layers_[i]);
  }
  visitor.child("layer_norm", layer_norm_);
}

}  // namespace fovea::models::audio
