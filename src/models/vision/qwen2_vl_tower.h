// The vision tower of Qwen2-VL: patches of two frames as a product, 2-D rotary positions, full
// attention within a frame, and a merger of 2 x 2 patches. Source: Hugging Face
// modeling_qwen2_vl. Engine thread only.
//
// Legend: P patches, D width, N = P / merge^2 tokens, O decoder width.
#pragma once

#include <array>
#include <vector>

#include "core/host_tensor.h"
#include "models/vision/block.h"

namespace fovea::models::vision {

// With the defaults of Hugging Face's Qwen2VLVisionConfig. Keys keep their spelling in
// vision_config, but for mlp_dim; `hidden_size` there is the decoder's width.
struct Qwen2VlTowerConfig {
  int depth = 32;
  int embed_dim = 1280;
  int hidden_size = 3584;
  int num_heads = 16;
  int mlp_dim = 5120;  // embed_dim * mlp_ratio
  int in_channels = 3;
  int patch_size = 14;
  int temporal_patch_size = 2;
  int spatial_merge_size = 2;
  kernels::Gelu hidden_act = kernels::Gelu::kQuick;
};

Qwen2VlTowerConfig read_qwen2_vl_tower_config(const Json& config);

class Qwen2VlTower : public nn::Module {
 public:
  explicit Qwen2VlTower(const Qwen2VlTowerConfig& config);
  ~Qwen2VlTower() override;

  // pixels [P, C * temporal * patch * patch] in merge order; grid is {t, h, w} in patches.
  // Returns [N, O].
  mx::array forward(const HostTensor& pixels, const std::array<int, 3>& grid_thw) const;
  const Qwen2VlTowerConfig& config() const { return config_; }
  void visit(nn::Visitor& visitor) override;

 private:
  class Block;
  nn::RopeTables rope(const std::array<int, 3>& grid_thw) const;

  Qwen2VlTowerConfig config_;
  nn::Linear patch_embed_;
  std::vector<Block> blocks_;
  nn::LayerNorm ln_q_;
  nn::GeluMlp merger_mlp_;
};

}  // namespace fovea::models::vision
