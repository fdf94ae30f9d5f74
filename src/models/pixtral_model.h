// What Pixtral and Mistral Small 3 do alike: Pixtral's tower, of which some hidden states are
// taken, a two-layer GELU projector, a mistral decoder. Made by the thread that loads, then the
// engine's.
#pragma once

#include <vector>

#include "models/decoder_model.h"
#include "models/vision/pixtral_tower.h"

namespace fovea::models {

class PixtralModel : public DecoderModel {
 public:
  void visit(nn::Visitor& visitor) override;

 protected:
  // What a family's config.json leaves out.
  struct Standard {
    int feature_layer;
    bool projector_bias;
    const char* hidden_act = "gelu";  // of the tower
  };
  PixtralModel(const Checkpoint& checkpoint, const Standard& standard);

  // The wanted states [P, E] of a picture's patches.
  mx::array features(const MediaSpan& span) const;

  WeightNames weight_names() const override;

  vision::PixtralTower tower_;
  std::vector<int> layers_;
  nn::GeluMlp projector_;
};

}  // namespace fovea::models
