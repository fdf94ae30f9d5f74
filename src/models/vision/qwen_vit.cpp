#include "models/vision/qwen_vit.h"

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;
constexpr float kEps = 1e-6f;
constexpr double kRopeTheta = 10000;
constexpr int kPatchAxisMax = 16;  // far beyond any

}  // namespace

GridConfig read_grid_config(const Json& config, GridConfig c) {
  c.depth = optional_size(config, "depth", c.depth, kLayersMax);
  c.num_heads = optional_size(config, "num_heads", c.num_heads);
  c.in_channels = optional_size(config, config.contains("in_channels") ? "in_channels" : "in_chans",
                                c.in_channels, kTowerChannelsMax);
  c.patch_size = optional_size(config, "patch_size", c.patch_size, kTowerPatchMax);
  c.temporal_patch_size =
      optional_size(config, "temporal_patch_size", c.temporal_patch_size, kPatchAxisMax);
  c.spatial_merge_size =
      optional_size(config, "spatial_merge_size", c.spatial_merge_size, kPatchAxisMax);
  return c;
}

void check_grid_config(const Json& config, const GridConfig& c, const std::string& dim_key) {
  require_multiple(config, dim_key, c.dim, "num_heads", c.num_heads);
  if (c.dim / c.num_heads % 4 != 0) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected vision_config with heads of a multiple of 4 but got {} {} and "
         "num_heads {}",
         dim_key, c.dim, c.num_heads);
  }
  product_size(config, "merged patches", {c.dim, c.spatial_merge_size, c.spatial_merge_size});
}

UnitGrid unit_grid(const HostTensor& pixels, const std::array<int, 3>& grid_thw,
                   const GridConfig& c) {
  const auto [t, h, w] = grid_thw;
  const int m = c.spatial_merge_size;
  const std::vector<int> expected = {t * h * w, c.patch_values()};
  if (pixels.shape != expected || h % m != 0 || w % m != 0 || t * h * w == 0) {
    fail(ErrorKind::kInvalidData,
         "[vision] expected pixels {} for a grid {} x {} x {} in blocks of {} but got {}", expected,
         t, h, w, m, pixels.shape);
  }
  return {t, h / m, w / m, m};
}

std::vector<int> units_in_order(const UnitGrid& grid) {
  std::vector<int> order(static_cast<size_t>(grid.units()));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<int> frame_bounds(const UnitGrid& grid) {
  std::vector<int> bounds;
  const int frame = grid.patches() / grid.frames;
  for (int i = 0; i <= grid.frames; ++i) bounds.push_back(i * frame);
  return bounds;
}

nn::RopeTables grid_rope(const UnitGrid& grid, const std::vector<int>& order, int head_dim) {
  const int quarter = head_dim / 4;
  std::vector<float> frequencies;
  for (int i = 0; i < quarter; ++i) {
    frequencies.push_back(static_cast<float>(1 / std::pow(kRopeTheta, i / double(quarter))));
  }
  std::vector<float> angles;
  angles.reserve(order.size() * grid.merge * grid.merge * quarter * 2);
  const auto turn = [&](int position) {
    for (const float f : frequencies) angles.push_back(static_cast<float>(position) * f);
  };
  for (const int unit : order) {
    const int row = unit / grid.columns % grid.rows * grid.merge;
    const int column = unit % grid.columns * grid.merge;
    for (int inside = 0; inside < grid.merge * grid.merge; ++inside) {
      turn(row + inside / grid.merge);
      turn(column + inside % grid.merge);
    }
  }
  const mx::array table(angles.data(), {grid.patches(), 2 * quarter}, mx::float32);
  return {mx::cos(table), mx::sin(table)};
}

QwenVitBlock::Mlp QwenVitBlock::make_mlp(const GridConfig& grid, const QwenBlockConfig& config) {
  if (config.gated) return nn::SwigluMlp(grid.dim, grid.mlp_dim, Bias::kPresent);
  return nn::GeluMlp(grid.dim, grid.mlp_dim, grid.dim, config.gelu, Bias::kPresent, config.first,
                     config.second);
}

QwenVitBlock::QwenVitBlock(const GridConfig& grid, const QwenBlockConfig& config)
    : heads_(grid.num_heads),
      norm1_(config.norm, grid.dim, kEps),
      norm2_(config.norm, grid.dim, kEps),
      qkv_(grid.dim, 3 * grid.dim, Bias::kPresent),
      proj_(grid.dim, grid.dim, Bias::kPresent),
      mlp_(make_mlp(grid, config)) {}

mx::array QwenVitBlock::operator()(const mx::array& x_PD, const nn::RopeTables& rope,
                                   const std::vector<int>& cu_seqlens) const {
  const auto qkv = mx::split(qkv_(norm1_(x_PD)), 3, 1);
  const auto mixed = attend_within(qkv[0], qkv[1], qkv[2], heads_, &rope, cu_seqlens, qkv_.dtype());
  const auto h_PD = proj_(mixed, {.residual = x_PD});
  const auto normed = norm2_(h_PD);
  return std::visit([&](const auto& mlp) { return mlp(normed, h_PD); }, mlp_);
}

void QwenVitBlock::visit(nn::Visitor& visitor) {
  visitor.child("norm1", norm1_);
  visitor.child("norm2", norm2_);
  visitor.child("attn.qkv", qkv_);
  visitor.child("attn.proj", proj_);
  std::visit([&](auto& mlp) { visitor.child("mlp", mlp); }, mlp_);
}

}  // namespace fovea::models::vision
