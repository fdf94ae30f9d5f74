// The vision towers of Qwen2-VL (layer norms, two-layer MLPs) and Qwen2.5-VL (RMS norms, SwiGLU
// MLPs, attention within windows of the picture but for a few blocks that see a whole frame).
// Sources: arXiv:2409.12191, arXiv:2502.13923, Hugging Face modeling_qwen2_vl and
// modeling_qwen2_5_vl. Engine thread only, but for reading configs.
#pragma once

#include <array>
#include <vector>

#include "models/vision/qwen_vit.h"

namespace fovea::models::vision {

struct Qwen2VlTowerConfig {
  GridConfig grid;
  QwenBlockConfig block;
  int out_size = 3584;  // the decoder's width
  int window_side = 0;  // in units; 0: every block sees a frame
  std::vector<int> fullatt_block_indexes = {};
};

// With the defaults of Hugging Face's Qwen2VLVisionConfig: embed_dim is the tower's width,
// embed_dim * mlp_ratio the MLP's, hidden_size the decoder's.
Qwen2VlTowerConfig read_qwen2_vl_tower_config(const Json& config);

// With the defaults of Qwen2_5_VLVisionConfig: hidden_size is the tower's width, intermediate_size
// the MLP's, out_hidden_size the decoder's.
Qwen2VlTowerConfig read_qwen2_5_vl_tower_config(const Json& config);

// Units window by window, row by row within each, and where windows begin among the patches, with
// the end. Windows at the right and at the bottom may be smaller.
struct Windows {
  std::vector<int> order;
  std::vector<int> cu_seqlens;
};
Windows windows_of(const UnitGrid& grid, int side);

class Qwen2VlTower : public GridTower {
 public:
  explicit Qwen2VlTower(const Qwen2VlTowerConfig& config);

  mx::array forward(const HostTensor& pixels, const std::array<int, 3>& grid_thw) const override;
  int in_channels() const override { return config_.grid.in_channels; }
  int spatial_merge_size() const override { return config_.grid.spatial_merge_size; }
  int out_size() const override { return config_.out_size; }
  void visit(nn::Visitor& visitor) override;

 private:
  bool sees_frame(int block) const;

  Qwen2VlTowerConfig config_;
  nn::Linear patch_embed_;
  std::vector<QwenVitBlock> blocks_;
  nn::Norm ln_q_;
  nn::GeluMlp merger_mlp_;
};

}  // namespace fovea::models::vision
