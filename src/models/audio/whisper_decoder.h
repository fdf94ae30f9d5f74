// Whisper's decoder: layer norms before attention to the rows so far, attention to the encoder's
// states, and a GELU MLP; learnt positions, and the embeddings as the head. Source: Hugging Face
// modeling_whisper. Engine thread only.
//
// Legend: T rows of a step, S states, D width, V vocabulary.
#pragma once

#include <vector>

#include "models/audio/whisper_config.h"
#include "models/model.h"
#include "nn/cross_attention.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace fovea::models::audio {

class WhisperDecoderLayer : public nn::Module {
 public:
  explicit WhisperDecoderLayer(const WhisperConfig& config);
  void keep(const mx::array& states_SD, int layer, int sequence, nn::KvCache& cache) const {
    encoder_attn_.keep(states_SD, layer, sequence, cache);
  }
  nn::KvLayer kv_layer() const;
  mx::array operator()(const mx::array& x_TD, int layer, nn::KvCache& cache,
                       std::span<const nn::Segment> segments,
                       std::span<const nn::LookingRows> looking) const;
  void visit(nn::Visitor& visitor) override;

 private:
  mx::array attend(const mx::array& x_TD, int layer, nn::KvCache& cache,
                   std::span<const nn::Segment> segments) const;

  int heads_;
  nn::LayerNorm self_attn_layer_norm_;
  nn::Linear q_proj_;
  nn::Linear k_proj_;
  nn::Linear v_proj_;
  nn::Linear o_proj_;
  nn::LayerNorm encoder_attn_layer_norm_;
  nn::CrossAttention encoder_attn_;
  nn::LayerNorm final_layer_norm_;
  nn::GeluMlp mlp_;
};

// Parameters: embed_tokens, embed_positions.weight, layers.N, layer_norm.
class WhisperDecoder : public nn::Module {
 public:
  explicit WhisperDecoder(const WhisperConfig& config);
  mx::array embed_tokens(std::span<const int32_t> tokens) const { return embed_tokens_(tokens); }
  std::vector<nn::KvLayer> kv_layers() const;
  void keep_states(const mx::array& states_SD, int sequence, nn::KvCache& cache) const;
  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const;
  void visit(nn::Visitor& visitor) override;
  void visit_layers(nn::Visitor& visitor);

 private:
  nn::Embedding embed_tokens_;
  mx::array positions_;  // [max_target_positions, D]
  std::vector<WhisperDecoderLayer> layers_;
  nn::LayerNorm layer_norm_;
};

}  // namespace fovea::models::audio
