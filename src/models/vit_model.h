// What LLaVA, PaliGemma and Gemma 3 do alike: a CLIP or SigLIP tower, a projector of their own, a
// decoder, and the names of tensors. Made by the thread that loads, then the engine's.
#pragma once

#include "models/decoder_model.h"
#include "models/vision/vit.h"

namespace fovea::models {

class VitModel : public DecoderModel {
 public:
  // Tower and decoder; families add their projector.
  void visit(nn::Visitor& visitor) override;

 protected:
  VitModel(const Checkpoint& checkpoint, const text::DecoderConfig& config,
           const vision::VitConfig& tower);

  WeightNames weight_names() const override;

  vision::Vit tower_;
};

}  // namespace fovea::models
