// Pixtral 12B, and LLaVA configs whose vision_config is Pixtral's: every picture keeps its shape,
// its rows end with a token of the vocabulary. Sources: arXiv:2410.07073, Hugging Face
// modeling_llava and modeling_pixtral, mlx_vlm/models/pixtral.
#include "models/families.h"
#include "models/pixtral_model.h"

namespace fovea::models {
namespace {

class Pixtral : public PixtralModel {
 public:
  explicit Pixtral(const Checkpoint& checkpoint)
      : PixtralModel(checkpoint, {.feature_layer = -2, .projector_bias = true}) {}

  mx::array encode_media(const MediaSpan& span) const override {
    return projector_(features(span));
  }
};

}  // namespace

std::unique_ptr<Model> make_pixtral(const Checkpoint& checkpoint) {
  return std::make_unique<Pixtral>(checkpoint);
}

}  // namespace fovea::models
