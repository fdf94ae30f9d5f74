// What LLaVA 1.5 and its successors do alike: a CLIP or SigLIP tower of which some hidden states
// are taken, a two-layer GELU projector, a llama, qwen2 or mistral decoder. Made by the thread that
// loads, then the engine's.
//
// Legend: B pictures of one size, N tokens of each, D hidden size.
#pragma once

#include <string>
#include <vector>

#include "models/vit_model.h"

namespace fovea::models {

// vision_feature_layer: one hidden state or several, counted from the end when negative; `standard`
// where the config does not say.
std::vector<int> feature_layers(const Json& config, int num_hidden_layers, int standard = -2);

class LlavaModel : public VitModel {
 public:
  void visit(nn::Visitor& visitor) override;

 protected:
  explicit LlavaModel(const Checkpoint& checkpoint);

  // pixels [B, C, H, W] -> [B * N, D]: tower, feature layers, projector.
  mx::array project(const HostTensor& pixels) const;
  // N.
  int tokens_per_picture() const;

 private:
  int projector_inputs(const Json& config) const;

  std::vector<int> layers_;
  nn::GeluMlp projector_;
  bool drops_first_row_;
};

}  // namespace fovea::models
