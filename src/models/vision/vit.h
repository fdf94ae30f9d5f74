// The vision transformers of CLIP and SigLIP, and of Idefics3 and SmolVLM, which are SigLIP's with
// squares of another size: patches as a product, learned positions, pre-norm blocks. Sources:
// Hugging Face modeling_clip, modeling_siglip, modeling_idefics3. Engine thread only.
//
// Legend: B pictures, P rows of one (class row and patches), D width, N patches.
#pragma once

#include <vector>

#include "base/json.h"
#include "core/host_tensor.h"
#include "models/vision/block.h"

namespace fovea::models::vision {

// Keys keep their spelling in vision_config.
struct VitConfig {
  int hidden_size = 768;
  int intermediate_size = 3072;
  int num_hidden_layers = 12;
  int num_attention_heads = 12;
  int image_size = 224;
  int patch_size = 16;
  int num_channels = 3;
  float layer_norm_eps = 1e-5f;
  kernels::Gelu hidden_act = kernels::Gelu::kQuick;
  bool has_class_row = false;  // CLIP: a class embedding, a norm before the blocks, no patch bias
};

// `standard_type` holds where there is no model_type; one that is no tower of this kind is
// Error(kUnsupported) that lists those that are.
VitConfig read_vit_config(const Json& config,
                          const std::string& standard_type = "clip_vision_model");

// Whatever the model_type: what `config`, which may be null, leaves out is `standard`'s.
VitConfig read_vit_config(const Json& config, const VitConfig& standard);

// CLIP-L of 336 pixels, the tower of many families.
VitConfig clip_large_336();

// SigLIP-SO400M of 384 pixels.
VitConfig siglip_so400m_384();

class Vit : public nn::Module {
 public:
  explicit Vit(const VitConfig& config);

  // pixels [B, C, H, W] with H == W == image_size. Returns the hidden states [B * P, D] after each
  // wanted layer: 0 is the embeddings, num_hidden_layers (or -1) the last block.
  std::vector<mx::array> forward(const HostTensor& pixels, const std::vector<int>& layers) const;
  // The last block's rows [B * P, D] behind post_layernorm.
  mx::array encode(const HostTensor& pixels) const;
  const VitConfig& config() const { return config_; }
  int rows_per_picture() const { return position_embedding_.out_size(); }
  void visit(nn::Visitor& visitor) override;

 private:
  void check_pixels(const HostTensor& pixels) const;
  mx::array embed(const HostTensor& pixels) const;
  std::vector<mx::array> pass(const HostTensor& pixels, const std::vector<int>& layers) const;

  VitConfig config_;
  mx::array class_embedding_;
  nn::Linear patch_embedding_;
  nn::Embedding position_embedding_;
  nn::LayerNorm pre_layrnorm_;  // the checkpoints' spelling
  std::vector<VitBlock> layers_;
  nn::LayerNorm post_layernorm_;  // llava's feature layers stand before it
};

}  // namespace fovea::models::vision
