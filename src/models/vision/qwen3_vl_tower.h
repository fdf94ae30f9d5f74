// The vision tower of Qwen3-VL: layer norms, two-layer MLPs, full attention within a frame, learned
// positions stretched over the picture, and further mergers after some blocks, whose features go to
// the decoder's first layers (deepstack). Sources: arXiv:2511.21631, arXiv:2406.04334, Hugging Face
// modeling_qwen3_vl. Engine thread only, but for reading configs.
//
// Legend: P patches, D width, U units, O decoder width.
#pragma once

#include <array>
#include <vector>

#include "models/vision/qwen_vit.h"

namespace fovea::models::vision {

// With the defaults of Hugging Face's Qwen3VLVisionConfig. Keys keep their spelling in
// vision_config, where hidden_size is the tower's width and intermediate_size the MLP's.
struct Qwen3VlTowerConfig {
  GridConfig grid = {.depth = 27, .patch_size = 16};
  kernels::Gelu hidden_act = kernels::Gelu::kTanh;
  int out_hidden_size = 3584;
  int position_side = 48;  // root of num_position_embeddings
  std::vector<int> deepstack_visual_indexes = {8, 16, 24};
};

Qwen3VlTowerConfig read_qwen3_vl_tower_config(const Json& config);

// norm(x) and a two-layer MLP over m x m patches side by side; the norm is of a patch or, where
// `after_merge`, of all of them.
class PatchMerger : public nn::Module {
 public:
  PatchMerger(const GridConfig& grid, int out, bool after_merge);
  mx::array operator()(const mx::array& x_PD) const;  // [U, O]
  void visit(nn::Visitor& visitor) override;

 private:
  int merged_;
  bool after_merge_;
  nn::LayerNorm norm_;
  nn::GeluMlp mlp_;
};

class Qwen3VlTower : public GridTower {
 public:
  explicit Qwen3VlTower(const Qwen3VlTowerConfig& config);

  mx::array forward(const HostTensor& pixels, const std::array<int, 3>& grid_thw) const override;
  int in_channels() const override { return config_.grid.in_channels; }
  int spatial_merge_size() const override { return config_.grid.spatial_merge_size; }
  int out_size() const override { return config_.out_hidden_size; }
  int deepstack_layers() const override {
    return static_cast<int>(config_.deepstack_visual_indexes.size());
  }
  void visit(nn::Visitor& visitor) override;

 private:
  mx::array positions(const UnitGrid& grid) const;

  Qwen3VlTowerConfig config_;
  nn::Linear patch_embed_;
  nn::Embedding pos_embed_;
  std::vector<QwenVitBlock> blocks_;
  PatchMerger merger_;
  std::vector<PatchMerger> deepstack_mergers_;
};

}  // namespace fovea::models::vision
