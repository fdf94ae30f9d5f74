// Qwen3-VL: a vision tower whose features enter several layers of the decoder (deepstack), a qwen3
// decoder, which normalises each head's queries and keys, with interleaved M-RoPE. Sources:
// arXiv:2511.21631, Hugging Face modeling_qwen3_vl, mlx_vlm/models/qwen3_vl.
#include "models/families.h"
#include "models/qwen_vl_model.h"
#include "models/vision/qwen3_vl_tower.h"

namespace fovea::models {
namespace {

// What Hugging Face's Qwen3VLTextConfig says where config.json is silent (text/decoder.h).
constexpr text::DecoderType kDecoder = {
    .model_type = "qwen3_vl",
    .qkv_bias = false,
    .sliding = text::Sliding::kNone,
    .vocab_size = 151936,
    .hidden_size = 4096,
    .intermediate_size = 22016,
    .num_hidden_layers = 32,
    .num_attention_heads = 32,
    .num_key_value_heads = 32,
    .max_position_embeddings = 128000,
    .rms_norm_eps = 1e-6f,
    .rope_theta = 5e5,
    .sliding_window = 0,
    .max_window_layers = 0,
    .head_dim = 128,
    .qk_norm = true,
    .mrope_interleaved = true,
};

}  // namespace

text::DecoderConfig qwen3_vl_decoder_config(const Checkpoint& checkpoint) {
  return qwen_vl_decoder_config(checkpoint, kDecoder);
}

std::unique_ptr<Model> make_qwen3_vl(const Checkpoint& checkpoint) {
  const auto tower = vision::read_qwen3_vl_tower_config(checkpoint.config["vision_config"]);
  return std::make_unique<QwenVlModel>(checkpoint, qwen3_vl_decoder_config(checkpoint),
                                       std::make_unique<vision::Qwen3VlTower>(tower),
                                       "out_hidden_size");
}

}  // namespace fovea::models
