#include "models/vision/qwen2_vl_tower.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;
constexpr float kEps = 1e-6f;
constexpr int kWindowMax = 1 << 20;  // pixels

int mlp_dim(const Json& config, int embed_dim) {
  const double ratio = config.get_double("mlp_ratio", 4);
  const double width = embed_dim * ratio;
  if (!(width >= 1 && width <= kWidthMax)) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected an MLP of 1 to {} values by '{}' but got {} for embed_dim {}",
         kWidthMax, config["mlp_ratio"].path(), ratio, embed_dim);
  }
  return static_cast<int>(width);
}

int window_side(const Json& config, const GridConfig& grid) {
  const int pixels = optional_size(config, "window_size", 112, kWindowMax);
  const int side = pixels / grid.spatial_merge_size / grid.patch_size;
  if (side < 1) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected windows of a merged patch or more at '{}' but got {} pixels",
         config.where(), config["window_size"].path(), pixels);
  }
  return side;
}

}  // namespace

Qwen2VlTowerConfig read_qwen2_vl_tower_config(const Json& config) {
  Qwen2VlTowerConfig c;
  c.grid = read_grid_config(config, c.grid);
  c.grid.dim = optional_size(config, "embed_dim", 1280, kWidthMax / 4);
  c.out_size = optional_size(config, "hidden_size", c.out_size);
  c.block.gelu = nn::gelu_from_config(config, "hidden_act", "quick_gelu");
  check_grid_config(config, c.grid, "embed_dim");
  c.grid.mlp_dim = mlp_dim(config, c.grid.dim);
  return c;
}

Qwen2VlTowerConfig read_qwen2_5_vl_tower_config(const Json& config) {
  Qwen2VlTowerConfig c;
  c.grid = read_grid_config(config, c.grid);
  c.grid.dim = optional_size(config, "hidden_size", 3584, kWidthMax / 4);
  c.grid.mlp_dim = optional_size(config, "intermediate_size", 3420);
  c.out_size = optional_size(config, "out_hidden_size", c.out_size);
  check_grid_config(config, c.grid, "hidden_size");
  c.block = {.norm = nn::Norm::Kind::kRms, .gated = true};
  c.window_side = window_side(config, c.grid);
  const Json full = config["fullatt_block_indexes"];
  c.fullatt_block_indexes = full.is_null() ? std::vector{7, 15, 23, 31} : full.as_int_list();
  const std::string act = config.get_string("hidden_act", "silu");
  if (act != "silu") {
    fail(ErrorKind::kUnsupported, "[{}] expected silu at '{}' but got '{}'", config.where(),
         config["hidden_act"].path(), act);
  }
  return c;
}

Windows windows_of(const UnitGrid& grid, int side) {
  Windows windows = {{}, {0}};
  const auto add = [&](int frame, int top, int left) {
    for (int row = top; row < std::min(top + side, grid.rows); ++row) {
      for (int column = left; column < std::min(left + side, grid.columns); ++column) {
        windows.order.push_back((frame * grid.rows + row) * grid.columns + column);
      }
    }
    const auto units = static_cast<int>(windows.order.size());
    windows.cu_seqlens.push_back(units * grid.merge * grid.merge);
  };
  for (int frame = 0; frame < grid.frames; ++frame) {
    for (int top = 0; top < grid.rows; top += side) {
      for (int left = 0; left < grid.columns; left += side) add(frame, top, left);
    }
  }
  return windows;
}

Qwen2VlTower::Qwen2VlTower(const Qwen2VlTowerConfig& c)
    : config_(c),
      patch_embed_(c.grid.patch_values(), c.grid.dim, Bias::kNone),
      ln_q_(c.block.norm, c.grid.dim, kEps),
      merger_mlp_(c.grid.merge_values(), c.grid.merge_values(), c.out_size, kernels::Gelu::kExact,
                  Bias::kPresent, "0", "2") {
  for (int i = 0; i < c.grid.depth; ++i) blocks_.emplace_back(c.grid, c.block);
}

bool Qwen2VlTower::sees_frame(int block) const {
  const auto& full = config_.fullatt_block_indexes;
  return config_.window_side == 0 || std::find(full.begin(), full.end(), block) != full.end();
}

mx::array Qwen2VlTower::forward(const HostTensor& pixels,
                                const std::array<int, 3>& grid_thw) const {
  const auto& c = config_.grid;
  const UnitGrid grid = unit_grid(pixels, grid_thw, c);
  const bool windowed = config_.window_side > 0;
  const Windows windows =
      windowed ? windows_of(grid, config_.window_side) : Windows{units_in_order(grid), {}};
  const mx::array order(windows.order.data(), {grid.units()}, mx::int32);
  const auto rope = grid_rope(grid, windows.order, c.dim / c.num_heads);
  const auto frames = frame_bounds(grid);
  auto x_PD =
      patch_embed_(mx::array(pixels.data.data(), {grid.patches(), c.patch_values()}, mx::float32));
  if (windowed) {
    const auto units = mx::take(mx::reshape(x_PD, {grid.units(), c.merge_values()}), order, 0);
    x_PD = mx::reshape(units, {grid.patches(), c.dim});
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x_PD = blocks_[i](x_PD, rope, sees_frame(static_cast<int>(i)) ? frames : windows.cu_seqlens);
  }
  const auto merged = merger_mlp_(mx::reshape(ln_q_(x_PD), {grid.units(), c.merge_values()}));
  return windowed ? mx::take(merged, mx::argsort(order), 0) : merged;
}

void Qwen2VlTower::visit(nn::Visitor& visitor) {
  visitor.child("patch_embed.proj", patch_embed_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    visitor.child(fmt::format("blocks.{}", i), blocks_[i]);
  }
  visitor.child("merger.ln_q", ln_q_);
  visitor.child("merger.mlp", merger_mlp_);
}

}  // namespace fovea::models::vision
