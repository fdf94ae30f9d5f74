// Qwen2-VL: its own vision tower, a qwen2 decoder with M-RoPE in sections.
// Sources: arXiv:2409.12191, Hugging Face modeling_qwen2_vl, mlx_vlm/models/qwen2_vl.
#include "models/families.h"
#include "models/qwen_vl_model.h"
#include "models/vision/qwen2_vl_tower.h"

namespace fovea::models {
text::DecoderConfig qwen2_vl_decoder_config(const Checkpoint& checkpoint) {
  return qwen_vl_decoder_config(checkpoint, kQwen2VlDecoder);
}

std::unique_ptr<Model> make_qwen2_vl(const Checkpoint& checkpoint) {
  const auto tower = vision::read_qwen2_vl_tower_config(checkpoint.config["vision_config"]);
  return std::make_unique<QwenVlModel>(checkpoint, qwen2_vl_decoder_config(checkpoint),
                                       std::make_unique<vision::Qwen2VlTower>(tower),
                                       "hidden_size");
}

}  // namespace fovea::models
