#include "models/names.h"

#include <algorithm>
#include <array>

namespace fovea::models {

std::string replace_prefix(const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& prefixes) {
  for (const auto& [from, to] : prefixes) {
    if (name.starts_with(from)) return to + name.substr(from.size());
  }
  return name;
}

NameRule drop_unused(NameRule rule) {
  return [rule = std::move(rule)](const std::string& name) -> std::string {
    if (name.ends_with("rotary_emb.inv_freq") || name.ends_with("position_ids")) return "";
    return rule(name);
  };
}

std::string tower_projector_decoder_path(const std::string& name) {
  std::string path =
      replace_prefix(name, {{"model.language_model.", "language_model.model."},
                            {"model.vision_tower.", "vision_tower."},
                            {"model.vision_encoder.", "vision_tower."},
                            {"model.multi_modal_projector.", "multi_modal_projector."},
                            {"model.vision_projection.", "multi_modal_projector."},
                            {"model.image_newline", "image_newline"},
                            {"lm_head.", "language_model.lm_head."}});
  const std::string tower = "vision_tower.vision_model.";
  if (!path.starts_with(tower)) path = replace_prefix(path, {{"vision_tower.", tower}});
  return path.starts_with(tower + "head.") ? "" : path;
}

bool is_multimodal(const std::string& path) {
  constexpr std::array kParts = {"vision",         "aligner",       "vl_connector",
                                 "sam_model",      "audio_model",   "audio_tower",
                                 "code_predictor", "img_projector", "multi_modal_projector",
                                 "patch_merge_mlp"};
  return std::any_of(kParts.begin(), kParts.end(),
                     [&](const char* part) { return path.find(part) != std::string::npos; });
}

}  // namespace fovea::models
