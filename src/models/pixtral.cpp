// Pixtral 12B, and LLaVA configs whose vision_config is Pixtral's: every picture keeps its shape,
// its rows end with a token of the vocabulary. Sources: arXiv:2410.07073, Hugging Face
// modeling_llava and modeling_pixtral, mlx_vlm/models/pixtral.
#include "models/families.h"
#include "models/pixtral_model.h"

namespace fovea::models {
namespace {

class Pixtral : public PixtralModel {
 public:
  explicit Pixtral(const Checkpoint& checkpoint) : PixtralModel(checkpoint, standard(checkpoint)) {}

  mx::array encode_media(const MediaSpan& span) const override {
    return projector_(features(span));
  }

 private:
  // A config of the type pixtral is mlx-vlm's own, whose tower knows silu only; the others are
  // LLaVA's.
  static Standard standard(const Checkpoint& checkpoint) {
    if (checkpoint.config["model_type"].as_string() == "llava") {
      return {.feature_layer = -2, .projector_bias = true};
    }
    return {.feature_layer = -1, .projector_bias = true, .hidden_act = "silu"};
  }
};

}  // namespace

std::unique_ptr<Model> make_pixtral(const Checkpoint& checkpoint) {
  return std::make_unique<Pixtral>(checkpoint);
}

}  // namespace fovea::models
