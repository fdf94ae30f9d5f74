#include "models/vit_model.h"

namespace fovea::models {

VitModel::VitModel(const Checkpoint& checkpoint, const text::DecoderConfig& config,
                   const vision::VitConfig& tower)
    : DecoderModel(checkpoint, config), tower_(tower) {}

void VitModel::visit(nn::Visitor& visitor) {
  visitor.child("vision_tower.vision_model", tower_);
  visitor.child("language_model", decoder_);
}

WeightNames VitModel::weight_names() const {
  return {tower_projector_decoder_path, "language_model.",
          "vision_tower.vision_model.embeddings.patch_embedding", tower_.config().num_channels};
}

}  // namespace fovea::models
