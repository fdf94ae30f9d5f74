// What Qwen2-VL, Qwen2.5-VL and Qwen3-VL do alike: a tower of patches on a grid, a decoder with
// M-RoPE whose positions follow the grid, and the names of tensors. Made by the thread that loads,
// then the engine's.
//
// Legend: L prompt length, U tokens of one picture.
#pragma once

#include <memory>

#include "models/decoder_model.h"
#include "models/vision/qwen_vit.h"

namespace fovea::models {

// What Hugging Face's Qwen2VLTextConfig and Qwen2_5_VLTextConfig say where config.json is silent
// (text/decoder.h).
inline constexpr text::DecoderType kQwen2VlDecoder = {
    .model_type = "qwen2_vl",
    .qkv_bias = true,
    .sliding = text::Sliding::kWhenTold,
    .vocab_size = 152064,
    .hidden_size = 8192,
    .intermediate_size = 29568,
    .num_hidden_layers = 80,
    .num_attention_heads = 64,
    .num_key_value_heads = 8,
    .max_position_embeddings = 32768,
    .rms_norm_eps = 1e-5f,
    .rope_theta = 1e6,
    .sliding_window = 4096,
    .max_window_layers = 80,
};

// The text part of config.json: in text_config, or at the root as in older checkpoints.
Json qwen_vl_text_config(const Json& config);

// read_decoder_config() of that part; Error(kInvalidData) without sections of M-RoPE.
text::DecoderConfig qwen_vl_decoder_config(const Checkpoint& checkpoint,
                                           const text::DecoderType& type);

// Positions on three axes. Text advances all by one; a picture's tokens share the time of its
// start, count rows and columns of merged patches from it, and what follows begins after the
// largest of them. A video's frames count time by one, or by as many as tokens_per_second says for
// the seconds between them, fractions dropped; frames that text stands between begin anew each.
// Sources: arXiv:2409.12191, arXiv:2502.13923.
Positions mrope_positions(const Prompt& prompt, int merge, double tokens_per_second = 0);

class QwenVlModel : public DecoderModel {
 public:
  // `out_key` of vision_config must be the decoder's width, which it names in messages. The decoder
  // gets as many deepstack layers as the tower gives.
  QwenVlModel(const Checkpoint& checkpoint, const text::DecoderConfig& config,
              std::unique_ptr<vision::GridTower> tower, const std::string& out_key,
              double tokens_per_second = 0);

  mx::array encode_media(const MediaSpan& span) const override {
    return tower_->forward(span.pixels, span.grid_thw);
  }
  Positions position_ids(const Prompt& prompt) const override {
    return mrope_positions(prompt, tower_->spatial_merge_size(), tokens_per_second_);
  }
  void visit(nn::Visitor& visitor) override;

 protected:
  WeightNames weight_names() const override;

 private:
  std::unique_ptr<vision::GridTower> tower_;
  double tokens_per_second_;
};

}  // namespace fovea::models
