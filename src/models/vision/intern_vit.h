// InternViT: a class row, learned positions, pre-norm blocks with q, k and v in one weight and a
// learned scale behind each half, optionally RMS norms throughout and over queries and keys.
// Source: modeling_intern_vit of the InternVL checkpoints. Engine thread only, but for reading
// configs.
//
// Legend: B pictures, P rows of one (class row and patches), D width.
#pragma once

#include <optional>
#include <vector>

#include "core/host_tensor.h"
#include "models/vision/block.h"

namespace fovea::models::vision {

// Keys keep their spelling in vision_config; the defaults are those of InternVisionConfig.
struct InternVitConfig {
  int hidden_size = 3200;
  int intermediate_size = 12800;
  int num_hidden_layers = 48;
  int num_attention_heads = 25;
  int image_size = 224;
  int patch_size = 14;
  int num_channels = 3;
  float layer_norm_eps = 1e-6f;
  kernels::Gelu hidden_act = kernels::Gelu::kExact;
  nn::Norm::Kind norm_type = nn::Norm::Kind::kRms;
  bool qkv_bias = false;
  bool qk_normalization = true;
};

InternVitConfig read_intern_vit_config(const Json& config);

class InternVit : public nn::Module {
 public:
  explicit InternVit(const InternVitConfig& config);
  ~InternVit() override;

  // pixels [B, C, H, W] with H == W == image_size. Returns the hidden state [B * P, D] after
  // `layer` blocks.
  mx::array forward(const HostTensor& pixels, int layer) const;
  const InternVitConfig& config() const { return config_; }
  int rows_per_picture() const { return position_embedding_.shape(1); }
  void visit(nn::Visitor& visitor) override;

 private:
  class Block;
  mx::array forward_pass(const HostTensor& pixels, int layer) const;

  InternVitConfig config_;
  mx::array class_embedding_;     // [1, 1, D]
  mx::array position_embedding_;  // [1, P, D]
  nn::Linear patch_embedding_;
  std::vector<Block> layers_;
};

}  // namespace fovea::models::vision
