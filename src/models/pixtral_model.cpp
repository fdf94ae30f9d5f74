#include "models/pixtral_model.h"

#include "mlx/ops.h"
#include "models/config.h"
#include "models/families.h"
#include "models/llava_model.h"

namespace fovea::models {
namespace {

int feature_size(const Json& config, const vision::PixtralTower& tower, size_t layers) {
  return product_size(config, "features", {tower.config().hidden_size, static_cast<int>(layers)});
}

}  // namespace

PixtralModel::PixtralModel(const Checkpoint& checkpoint, const Standard& standard)
    : DecoderModel(checkpoint, llava_decoder_config(checkpoint)),
      tower_(vision::read_pixtral_tower_config(checkpoint.config["vision_config"],
                                               standard.hidden_act)),
      layers_(feature_layers(checkpoint.config, tower_.config().num_hidden_layers,
                             standard.feature_layer)),
      projector_(feature_size(checkpoint.config, tower_, layers_.size()),
                 decoder_.config().hidden_size, decoder_.config().hidden_size,
                 nn::gelu_from_config(checkpoint.config, "projector_hidden_act", "gelu"),
                 checkpoint.config.get_bool("multimodal_projector_bias", standard.projector_bias)
                     ? nn::Linear::Bias::kPresent
                     : nn::Linear::Bias::kNone,
                 "linear_1", "linear_2") {}

mx::array PixtralModel::features(const MediaSpan& span) const {
  return mx::concatenate(tower_.forward(span.pixels, span.grid_thw, layers_), 1);
}

void PixtralModel::visit(nn::Visitor& visitor) {
  visitor.child("vision_tower.vision_model", tower_);
  visitor.child("multi_modal_projector", projector_);
  visitor.child("language_model", decoder_);
}

WeightNames PixtralModel::weight_names() const {
  return {tower_projector_decoder_path, "language_model.", "vision_tower.vision_model.patch_conv",
          tower_.config().num_channels};
}

}  // namespace fovea::models
