#include "models/vision/qwen3_vl_tower.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;
constexpr float kEps = 1e-6f;
constexpr int kPositionsMax = 1 << 20;

int square_side(const Json& config, int fallback) {
  const int count =
      optional_size(config, "num_position_embeddings", fallback * fallback, kPositionsMax);
  const int side = static_cast<int>(std::lround(std::sqrt(count)));
  if (side * side != count) {
    fail(ErrorKind::kInvalidData, "[{}] expected a square at '{}' but got {}", config.where(),
         config["num_position_embeddings"].path(), count);
  }
  return side;
}

// The blocks that mergers follow, ascending.
std::vector<int> read_deepstack(const Json& config, int depth, const std::vector<int>& standard) {
  const Json indexes = config["deepstack_visual_indexes"];
  const auto blocks = indexes.is_null() ? standard : indexes.as_int_list();
  bool fits = std::is_sorted(blocks.begin(), blocks.end(), std::less_equal<int>());
  for (const int block : blocks) fits = fits && block >= 0 && block < depth;
  if (!fits) {
    fail(ErrorKind::kInvalidData, "[{}] expected ascending blocks below {} at '{}' but got [{}]",
         config.where(), depth, indexes.path(), fmt::join(blocks, ", "));
  }
  return blocks;
}

// Where patch `i` of `count` along a side falls between two of a table's `side` rows.
struct Between {
  int low;
  int high;
  float share;  // of high
};
Between between(int i, int count, int side) {
  const double at = count > 1 ? double(i) * (side - 1) / (count - 1) : 0;
  const int low = static_cast<int>(at);
  return {low, std::min(low + 1, side - 1), static_cast<float>(at - low)};
}

}  // namespace

Qwen3VlTowerConfig read_qwen3_vl_tower_config(const Json& config) {
  Qwen3VlTowerConfig c;
  c.grid = read_grid_config(config, c.grid);
  c.grid.dim = optional_size(config, "hidden_size", 1152, kWidthMax / 4);
  c.grid.mlp_dim = optional_size(config, "intermediate_size", 4304);
  c.out_hidden_size = optional_size(config, "out_hidden_size", c.out_hidden_size);
  c.hidden_act = nn::gelu_from_config(config, "hidden_act", "gelu_pytorch_tanh");
  check_grid_config(config, c.grid, "hidden_size");
  c.position_side = square_side(config, c.position_side);
  c.deepstack_visual_indexes = read_deepstack(config, c.grid.depth, c.deepstack_visual_indexes);
  return c;
}

PatchMerger::PatchMerger(const GridConfig& grid, int out, bool after_merge)
    : merged_(grid.merge_values()),
      after_merge_(after_merge),
      norm_(after_merge ? merged_ : grid.dim, kEps),
      mlp_(merged_, merged_, out, kernels::Gelu::kExact, Bias::kPresent, "linear_fc1",
           "linear_fc2") {}

mx::array PatchMerger::operator()(const mx::array& x_PD) const {
  if (after_merge_) return mlp_(norm_(mx::reshape(x_PD, {-1, merged_})));
  return mlp_(mx::reshape(norm_(x_PD), {-1, merged_}));
}

void PatchMerger::visit(nn::Visitor& visitor) {
  visitor.child("norm", norm_);
  mlp_.visit(visitor);
}

Qwen3VlTower::Qwen3VlTower(const Qwen3VlTowerConfig& c)
    : config_(c),
      patch_embed_(c.grid.patch_values(), c.grid.dim, Bias::kPresent),
      pos_embed_(c.position_side * c.position_side, c.grid.dim),
      merger_(c.grid, c.out_hidden_size, false) {
  const QwenBlockConfig block = {
      .gelu = c.hidden_act, .first = "linear_fc1", .second = "linear_fc2"};
  for (int i = 0; i < c.grid.depth; ++i) blocks_.emplace_back(c.grid, block);
  for (size_t i = 0; i < c.deepstack_visual_indexes.size(); ++i) {
    deepstack_mergers_.emplace_back(c.grid, c.out_hidden_size, true);
  }
}

// The table of positions read between its rows and columns, so that its corners lie on the
// picture's.
mx::array Qwen3VlTower::positions(const UnitGrid& grid) const {
  const int m = grid.merge;
  const int side = config_.position_side;
  std::array<std::vector<int32_t>, 4> ids;
  std::array<std::vector<float>, 4> weights;
  for (int patch = 0; patch < grid.patches(); ++patch) {
    const int unit = patch / (m * m);
    const int inside = patch % (m * m);
    const auto row = between(unit / grid.columns % grid.rows * m + inside / m, grid.rows * m, side);
    const auto column = between(unit % grid.columns * m + inside % m, grid.columns * m, side);
    for (int corner = 0; corner < 4; ++corner) {
      const bool lower = corner >= 2;
      const bool right = corner % 2 == 1;
      ids[corner].push_back((lower ? row.high : row.low) * side +
                            (right ? column.high : column.low));
      weights[corner].push_back((lower ? row.share : 1 - row.share) *
                                (right ? column.share : 1 - column.share));
    }
  }
  auto sum_PD = mx::array(0.0f);
  for (size_t corner = 0; corner < 4; ++corner) {
    const mx::array weight(weights[corner].data(), {grid.patches(), 1}, mx::float32);
    sum_PD = mx::add(sum_PD, mx::multiply(pos_embed_(ids[corner]), weight));
  }
  return sum_PD;
}

mx::array Qwen3VlTower::forward(const HostTensor& pixels,
                                const std::array<int, 3>& grid_thw) const {
  const auto& c = config_.grid;
  const UnitGrid grid = unit_grid(pixels, grid_thw, c);
  const auto rope = grid_rope(grid, units_in_order(grid), c.dim / c.num_heads);
  const auto cu_seqlens = frame_bounds(grid);
  auto x_PD =
      patch_embed_(mx::array(pixels.data.data(), {grid.patches(), c.patch_values()}, mx::float32));
  x_PD = mx::add(x_PD, positions(grid));
  std::vector<mx::array> features;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x_PD = blocks_[i](x_PD, rope, cu_seqlens);
    const size_t next = features.size();
    const auto& taps = config_.deepstack_visual_indexes;
    if (next < taps.size() && taps[next] == static_cast<int>(i)) {
      features.push_back(deepstack_mergers_[next](x_PD));
    }
  }
  features.insert(features.begin(), merger_(x_PD));
  return mx::concatenate(features, 1);
}

void Qwen3VlTower::visit(nn::Visitor& visitor) {
  visitor.child("patch_embed.proj", patch_embed_);
  visitor.child("pos_embed", pos_embed_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    visitor.child(fmt::format("blocks.{}", i), blocks_[i]);
  }
  visitor.child("merger", merger_);
  for (size_t i = 0; i < deepstack_mergers_.size(); ++i) {
    visitor.child(fmt::format("deepstack_merger_list.{}", i), deepstack_mergers_[i]);
  }
}

}  // namespace fovea::models::vision
