// What the vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL share: patches of two frames as a
// product, 2-D rotary positions, pre-norm blocks with q, k and v in one weight, and a merger of
// m x m neighbours, which stand together all the way. Sources: Hugging Face modeling_qwen2_vl,
// modeling_qwen2_5_vl, modeling_qwen3_vl. Engine thread only, but for reading configs.
//
// Legend: P patches, D width, U = P / m^2 units, O decoder width.
#pragma once

#include <array>
#include <string>
#include <variant>
#include <vector>

#include "core/host_tensor.h"
#include "models/vision/block.h"

namespace fovea::models::vision {

// A tower that takes patches on a grid, as Qwen2VLImageProcessor lays them out.
class GridTower : public nn::Module {
 public:
  // pixels [P, C * temporal * patch * patch] in the order of units; grid is {t, h, w} in patches.
  // Returns [U, O], or [U, (1 + deepstack_layers) * O].
  virtual mx::array forward(const HostTensor& pixels, const std::array<int, 3>& grid_thw) const = 0;
  virtual int in_channels() const = 0;
  virtual int spatial_merge_size() const = 0;
  virtual int out_size() const = 0;
  virtual int deepstack_layers() const { return 0; }
};

// Sizes that all three configs have. Keys keep their spelling in vision_config but for dim and
// mlp_dim, which each tower reads.
struct GridConfig {
  int depth = 32;
  int dim = 0;
  int mlp_dim = 0;
  int num_heads = 16;
  int in_channels = 3;
  int patch_size = 14;
  int temporal_patch_size = 2;
  int spatial_merge_size = 2;

  int patch_values() const { return in_channels * temporal_patch_size * patch_size * patch_size; }
  int merge_values() const { return dim * spatial_merge_size * spatial_merge_size; }
};

// All but dim and mlp_dim; what the config leaves out is `standard`'s.
GridConfig read_grid_config(const Json& config, GridConfig standard);

// Fails unless the heads fit `dim`, named `dim_key`, and rotate by row and column, and merged
// patches make a size.
void check_grid_config(const Json& config, const GridConfig& c, const std::string& dim_key);

// A grid in units: m x m patches, row by row of each frame.
struct UnitGrid {
  int frames = 0;
  int rows = 0;
  int columns = 0;
  int merge = 0;
  int units() const { return frames * rows * columns; }
  int patches() const { return units() * merge * merge; }
};

// Fails unless `pixels` are the grid's patches.
UnitGrid unit_grid(const HostTensor& pixels, const std::array<int, 3>& grid_thw,
                   const GridConfig& c);

// 0, 1, 2, ...: the order in which units come from the processor.
std::vector<int> units_in_order(const UnitGrid& grid);

// Where frames begin among the patches, and the end.
std::vector<int> frame_bounds(const UnitGrid& grid);

// Cosines and sines for the patches of units in the given order: a head's first frequencies turn by
// the row, the others by the column.
nn::RopeTables grid_rope(const UnitGrid& grid, const std::vector<int>& order, int head_dim);

// How the blocks of one tower are made.
struct QwenBlockConfig {
  nn::Norm::Kind norm = nn::Norm::Kind::kLayer;
  bool gated = false;  // a SwiGLU MLP with biases; else two layers and
  kernels::Gelu gelu = kernels::Gelu::kQuick;
  const char* first = "fc1";  // their names
  const char* second = "fc2";
};

class QwenVitBlock : public nn::Module {
 public:
  QwenVitBlock(const GridConfig& grid, const QwenBlockConfig& config);
  mx::array operator()(const mx::array& x_PD, const nn::RopeTables& rope,
                       const std::vector<int>& cu_seqlens) const;
  void visit(nn::Visitor& visitor) override;

 private:
  using Mlp = std::variant<nn::GeluMlp, nn::SwigluMlp>;
  static Mlp make_mlp(const GridConfig& grid, const QwenBlockConfig& config);

  int heads_;
  nn::Norm norm1_;
  nn::Norm norm2_;
  nn::Linear qkv_;
  nn::Linear proj_;
  Mlp mlp_;
};

}  // namespace fovea::models::vision
