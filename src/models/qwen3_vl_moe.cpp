// Qwen3-VL with experts: the tower and the decoder of Qwen3-VL, most of whose MLPs are mixtures.
// Sources: Hugging Face modeling_qwen3_vl_moe, mlx_vlm/models/qwen3_vl_moe.
#include "models/families.h"
#include "models/qwen_vl_model.h"
#include "models/vision/qwen3_vl_tower.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

// What Hugging Face's Qwen3VLMoeTextConfig says where config.json is silent (text/decoder.h).
constexpr text::DecoderType kDecoder = {
    .model_type = "qwen3_vl_moe",
    .qkv_bias = false,
    .sliding = text::Sliding::kNone,
    .vocab_size = 151936,
    .hidden_size = 2048,
    .intermediate_size = 5632,
    .num_hidden_layers = 24,
    .num_attention_heads = 16,
    .num_key_value_heads = 16,
    .max_position_embeddings = 128000,
    .rms_norm_eps = 1e-6f,
    .rope_theta = 5e5,
    .sliding_window = 0,
    .max_window_layers = 0,
    .qk_norm = true,
    .mrope_interleaved = true,
    .experts = {.num_experts = 60, .num_experts_per_tok = 4, .moe_intermediate_size = 1408},
};

class Qwen3VlMoe : public QwenVlModel {
 public:
  using QwenVlModel::QwenVlModel;

  void prepare_weights(nn::Weights& weights) override {
    QwenVlModel::prepare_weights(weights);
    const auto& config = decoder_.config();
    for (int i = 0; i < config.num_hidden_layers; ++i) {
      if (!config.sparse[static_cast<size_t>(i)]) continue;
      nn::SparseMoe::unpack(weights, fmt::format("language_model.model.layers.{}.mlp", i),
                            config.hidden_size, config.moe);
    }
  }
};

}  // namespace

text::DecoderConfig qwen3_vl_moe_decoder_config(const Checkpoint& checkpoint) {
  return qwen_vl_decoder_config(checkpoint, kDecoder);
}

std::unique_ptr<Model> make_qwen3_vl_moe(const Checkpoint& checkpoint) {
  const auto tower = vision::read_qwen3_vl_tower_config(checkpoint.config["vision_config"]);
  return std::make_unique<Qwen3VlMoe>(checkpoint, qwen3_vl_moe_decoder_config(checkpoint),
                                      std::make_unique<vision::Qwen3VlTower>(tower),
                                      "out_hidden_size");
}

}  // namespace fovea::models
