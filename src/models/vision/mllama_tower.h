// The tower of Llama 3.2 Vision: a picture's tiles side by side, each with a class row and with
// embeddings of its place among the tiles, through local blocks and then gated global ones. What
// leaves is the last block's rows, with those before some of the local blocks behind them. Sources:
// Meta's reference (llama-models, multimodal) and Hugging Face modeling_mllama, which numbers the
// states behind local blocks since its pull request 39643, one block too late. Engine thread only.
//
// Rows of tiles that a picture does not fill, and those that bring a tile to a multiple of 8, take
// part as the checkpoints learnt it: they see the rows of the picture, which see all rows.
//
// Legend: T tiles at most, P rows of one (class row and patches), R rows of all with what fills
// them up, D width, E width of what leaves.
#pragma once

#include <array>
#include <vector>

#include "base/json.h"
#include "core/host_tensor.h"
#include "models/vision/block.h"

namespace fovea::models::vision {

// Keys keep their spelling in vision_config.
struct MllamaTowerConfig {
  int hidden_size = 1280;
  int intermediate_size = 5120;
  int num_hidden_layers = 32;
  int num_global_layers = 8;
  int num_attention_heads = 16;
  int image_size = 448;
  int patch_size = 14;
  int num_channels = 3;
  int max_num_tiles = 4;
  float norm_eps = 1e-5f;
  kernels::Gelu hidden_act = kernels::Gelu::kExact;
  std::vector<int> intermediate_layers_indices = {3, 7, 15, 23, 30};
  // Rows and columns of tiles; their ids count from 1.
  std::vector<std::array<int, 2>> supported_aspect_ratios = {{1, 1}, {1, 2}, {1, 3}, {1, 4},
                                                             {2, 1}, {2, 2}, {3, 1}, {4, 1}};

  int rows_per_tile() const;  // P
  int rows() const { return max_num_tiles * rows_per_tile(); }
  int vision_output_dim() const;  // E
};

// Throws Error(kInvalidData) naming the key for layers that there are not, ratios beyond
// max_num_tiles, and a vision_output_dim that is not E.
MllamaTowerConfig read_mllama_tower_config(const Json& config);

class MllamaTower : public nn::Module {
 public:
  explicit MllamaTower(const MllamaTowerConfig& config);
  ~MllamaTower() override;

  // pixels [rows * columns, C, H, W] of the tiles that the picture fills, in `tiles` rows and
  // columns. Returns [T * P, E], tile by tile, those of the picture first.
  mx::array encode(const HostTensor& pixels, const std::array<int, 2>& tiles) const;
  const MllamaTowerConfig& config() const { return config_; }
  void visit(nn::Visitor& visitor) override;

 private:
  class Block;
  // A table with a row for each aspect ratio, behind a gate.
  struct TileEmbedding : nn::Module {
    TileEmbedding(int ratios, int width) : embedding(ratios, width), gate(mx::zeros({1})) {}
    void visit(nn::Visitor& visitor) override;
    nn::Embedding embedding;
    mx::array gate;
  };
  struct PositionEmbedding : nn::Module {
    PositionEmbedding(int ratios, int rows, int tiles, int width);
    void visit(nn::Visitor& visitor) override;
    mx::array gate;
    mx::array embedding_PD;
    nn::Embedding tile_embedding;
  };

  int aspect_ratio_id(const HostTensor& pixels, const std::array<int, 2>& tiles) const;
  mx::array embed(const HostTensor& pixels, int ratio) const;
  mx::array tile_rows(const TileEmbedding& table, int ratio) const;

  MllamaTowerConfig config_;
  nn::Linear patch_embedding_;
  mx::array class_embedding_;
  PositionEmbedding gated_positional_embedding_;
  TileEmbedding pre_tile_positional_embedding_;
  TileEmbedding post_tile_positional_embedding_;
  nn::LayerNorm layernorm_pre_;
  nn::LayerNorm layernorm_post_;
  std::vector<Block> transformer_;
  std::vector<Block> global_transformer_;
};

}  // namespace fovea::models::vision
