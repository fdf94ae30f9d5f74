// Qwen2.5-VL: a vision tower with attention in windows, a qwen2 decoder with M-RoPE in sections.
// Sources: arXiv:2502.13923, Hugging Face modeling_qwen2_5_vl, mlx_vlm/models/qwen2_5_vl.
#include "models/families.h"
#include "models/qwen_vl_model.h"
#include "models/vision/qwen2_vl_tower.h"

namespace fovea::models {
namespace {

// What Hugging Face's Qwen2_5_VLTextConfig says where config.json is silent (text/decoder.h).
constexpr text::DecoderType kDecoder = {
    .model_type = "qwen2_5_vl",
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

}  // namespace

text::DecoderConfig qwen2_5_vl_decoder_config(const Checkpoint& checkpoint) {
  return qwen_vl_decoder_config(checkpoint, kDecoder);
}

std::unique_ptr<Model> make_qwen2_5_vl(const Checkpoint& checkpoint) {
  const auto tower = vision::read_qwen2_5_vl_tower_config(checkpoint.config["vision_config"]);
  return std::make_unique<QwenVlModel>(checkpoint, qwen2_5_vl_decoder_config(checkpoint),
                                       std::make_unique<vision::Qwen2VlTower>(tower),
                                       "out_hidden_size");
}

}  // namespace fovea::models
