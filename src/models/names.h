// From the names of tensors in checkpoints to module paths.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fovea::models {

using NameRule = std::function<std::string(const std::string&)>;

// The first prefix that fits is replaced; a name without any stays.
std::string replace_prefix(const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& prefixes);

// `rule`, but tensors that no model reads are dropped: rotary tables and position indices.
NameRule drop_unused(NameRule rule);

// Of families with vision_tower., multi_modal_projector. and language_model.: from released names
// (vision_tower.vision_model.), newer ones (model.language_model., model.vision_tower., ...), as
// transformers 5 writes them (vision_tower. without vision_model.), those of Mistral's own files
// (model.vision_encoder., model.vision_projection.) and MLX's. SigLIP's pooling head is dropped: it
// stands behind every feature.
std::string tower_projector_decoder_path(const std::string& name);

// Whether the module serves what is not text: a tower, or a projector behind one. Converters leave
// those unquantised unless told. Source: mlx-vlm's skip_multimodal_module.
bool is_multimodal(const std::string& path);

}  // namespace fovea::models
