// Qwen2.5-VL: a vision tower with attention in windows, a qwen2 decoder with M-RoPE in sections.
// Sources: arXiv:2502.13923, Hugging Face modeling_qwen2_5_vl, mlx_vlm/models/qwen2_5_vl.
#include "models/config.h"
#include "models/families.h"
#include "models/qwen_vl_model.h"
#include "models/vision/qwen2_vl_tower.h"

namespace fovea::models {
namespace {

constexpr int kTokensPerSecond = 4;
constexpr int kTokensPerSecondMax = 1000;

}  // namespace

text::DecoderConfig qwen2_5_vl_decoder_config(const Checkpoint& checkpoint) {
  return qwen_vl_decoder_config(checkpoint, kQwen2VlDecoder);
}

std::unique_ptr<Model> make_qwen2_5_vl(const Checkpoint& checkpoint) {
  const Json vision = checkpoint.config["vision_config"];
  const auto tower = vision::read_qwen2_5_vl_tower_config(vision);
  return std::make_unique<QwenVlModel>(
      checkpoint, qwen2_5_vl_decoder_config(checkpoint),
      std::make_unique<vision::Qwen2VlTower>(tower), "out_hidden_size",
      optional_size(vision, "tokens_per_second", kTokensPerSecond, kTokensPerSecondMax));
}

}  // namespace fovea::models
