// Pixtral's vision transformer: patches of a picture of any shape as a product, 2-D rotary
// positions, pre-norm blocks of RMS norms and SwiGLU without biases. Source: Hugging Face
// modeling_pixtral. Engine thread only, but for reading configs.
//
// Legend: P patches of one picture, D width.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "core/host_tensor.h"
#include "models/vision/block.h"
#include "nn/attention.h"

namespace fovea::models::vision {

// With the defaults of Hugging Face's PixtralVisionConfig. Keys keep their spelling in
// vision_config.
struct PixtralTowerConfig {
  int hidden_size = 1024;
  int intermediate_size = 4096;
  int num_hidden_layers = 24;
  int num_attention_heads = 16;
  int num_channels = 3;
  int patch_size = 16;
  double rope_theta = 10000;
  std::optional<kernels::Gelu> hidden_act = {};  // of the MLP's gate; none: silu
};

// `standard_act` holds where there is no hidden_act; released configs say silu.
PixtralTowerConfig read_pixtral_tower_config(const Json& config, const char* standard_act = "gelu");

class PixtralTower : public nn::Module {
 public:
  explicit PixtralTower(const PixtralTowerConfig& config);
  ~PixtralTower() override;

  // pixels [P, C * patch * patch], row by row; grid is {1, h, w} in patches. Returns the hidden
  // states [P, D] after each wanted layer: 0 is the embeddings.
  std::vector<mx::array> forward(const HostTensor& pixels, const std::array<int, 3>& grid_thw,
                                 const std::vector<int>& layers) const;
  const PixtralTowerConfig& config() const { return config_; }
  void visit(nn::Visitor& visitor) override;

 private:
  class Block;
  nn::RopeTables rope(int rows, int columns) const;

  PixtralTowerConfig config_;
  nn::Linear patch_conv_;
  nn::RmsNorm ln_pre_;
  std::vector<Block> layers_;
};

}  // namespace fovea::models::vision
