#include "models/vision/qwen2_vl_tower.h"

#include <cmath>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;
constexpr float kEps = 1e-6f;
constexpr double kRopeTheta = 10000;

// Far beyond any tower, and such that no product of them leaves an int.
constexpr int kPatchAxisMax = 16;
constexpr int kPatchSizeMax = 1024;

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

int patch_values(const Qwen2VlTowerConfig& c) {
  return c.in_channels * c.temporal_patch_size * c.patch_size * c.patch_size;
}

}  // namespace

Qwen2VlTowerConfig read_qwen2_vl_tower_config(const Json& config) {
  Qwen2VlTowerConfig c;
  c.depth = optional_size(config, "depth", c.depth, kLayersMax);
  c.embed_dim = optional_size(config, "embed_dim", c.embed_dim, kWidthMax / 4);
  c.hidden_size = optional_size(config, "hidden_size", c.hidden_size);
  c.num_heads = optional_size(config, "num_heads", c.num_heads);
  require_multiple(config, "embed_dim", c.embed_dim, "num_heads", c.num_heads);
  c.in_channels = optional_size(config, config.contains("in_channels") ? "in_channels" : "in_chans",
                                c.in_channels, kPatchAxisMax);
  c.patch_size = optional_size(config, "patch_size", c.patch_size, kPatchSizeMax);
  c.temporal_patch_size =
      optional_size(config, "temporal_patch_size", c.temporal_patch_size, kPatchAxisMax);
  c.spatial_merge_size =
      optional_size(config, "spatial_merge_size", c.spatial_merge_size, kPatchAxisMax);
  c.hidden_act = nn::gelu_from_config(config, "hidden_act", "quick_gelu");
  if (c.embed_dim / c.num_heads % 4 != 0) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected vision_config with heads of a multiple of 4 but got embed_dim {} "
         "and num_heads {}",
         c.embed_dim, c.num_heads);
  }
  c.mlp_dim = mlp_dim(config, c.embed_dim);
  product_size(config, "merged patches", {c.embed_dim, c.spatial_merge_size, c.spatial_merge_size});
  return c;
}

class Qwen2VlTower::Block : public nn::Module {
 public:
  explicit Block(const Qwen2VlTowerConfig& c)
      : heads_(c.num_heads),
        norm1_(c.embed_dim, kEps),
        norm2_(c.embed_dim, kEps),
        qkv_(c.embed_dim, 3 * c.embed_dim, Bias::kPresent),
        proj_(c.embed_dim, c.embed_dim, Bias::kPresent),
        mlp_(c.embed_dim, c.mlp_dim, c.embed_dim, c.hidden_act) {}

  mx::array operator()(const mx::array& x_PD, const nn::RopeTables& rope,
                       const std::vector<int>& cu_seqlens) const {
    const auto qkv = mx::split(qkv_(norm1_(x_PD)), 3, 1);
    const auto mixed =
        attend_within(qkv[0], qkv[1], qkv[2], heads_, &rope, cu_seqlens, qkv_.dtype());
    const auto h_PD = proj_(mixed, {.residual = x_PD});
    return mlp_(norm2_(h_PD), h_PD);
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("norm1", norm1_);
    visitor.child("norm2", norm2_);
    visitor.child("attn.qkv", qkv_);
    visitor.child("attn.proj", proj_);
    visitor.child("mlp", mlp_);
  }

 private:
  int heads_;
  nn::LayerNorm norm1_;
  nn::LayerNorm norm2_;
  nn::Linear qkv_;
  nn::Linear proj_;
  nn::GeluMlp mlp_;
};

Qwen2VlTower::Qwen2VlTower(const Qwen2VlTowerConfig& c)
    : config_(c),
      patch_embed_(patch_values(c), c.embed_dim, Bias::kNone),
      ln_q_(c.embed_dim, kEps),
      merger_mlp_(c.embed_dim * c.spatial_merge_size * c.spatial_merge_size,
                  c.embed_dim * c.spatial_merge_size * c.spatial_merge_size, c.hidden_size,
                  kernels::Gelu::kExact, Bias::kPresent, "0", "2") {
  for (int i = 0; i < c.depth; ++i) blocks_.emplace_back(c);
}

Qwen2VlTower::~Qwen2VlTower() = default;

// Rows and columns of the patches, in the order in which m x m neighbours stand together; each axis
// turns one half of a head's frequencies.
nn::RopeTables Qwen2VlTower::rope(const std::array<int, 3>& grid_thw) const {
  const auto [t, h, w] = grid_thw;
  const int m = config_.spatial_merge_size;
  const int quarter = config_.embed_dim / config_.num_heads / 4;
  std::vector<float> frequencies;
  for (int i = 0; i < quarter; ++i) {
    frequencies.push_back(static_cast<float>(1 / std::pow(kRopeTheta, i / double(quarter))));
  }
  std::vector<float> angles;
  angles.reserve(static_cast<size_t>(t) * h * w * quarter * 2);
  const auto turn = [&](int position) {
    for (const float f : frequencies) angles.push_back(static_cast<float>(position) * f);
  };
  for (int frame = 0; frame < t; ++frame) {
    for (int block = 0; block < h / m * (w / m); ++block) {
      for (int inside = 0; inside < m * m; ++inside) {
        turn(block / (w / m) * m + inside / m);
        turn(block % (w / m) * m + inside % m);
      }
    }
  }
  const mx::array table(angles.data(), {t * h * w, 2 * quarter}, mx::float32);
  return {mx::cos(table), mx::sin(table)};
}

mx::array Qwen2VlTower::forward(const HostTensor& pixels,
                                const std::array<int, 3>& grid_thw) const {
  const auto [t, h, w] = grid_thw;
  const int m = config_.spatial_merge_size;
  const std::vector<int> expected = {t * h * w, patch_values(config_)};
  if (pixels.shape != expected || h % m != 0 || w % m != 0 || t * h * w == 0) {
    fail(ErrorKind::kInvalidData,
         "[vision] expected pixels {} for a grid {} x {} x {} in blocks of {} but got {}", expected,
         t, h, w, m, pixels.shape);
  }
  std::vector<int> cu_seqlens;
  for (int frame = 0; frame <= t; ++frame) cu_seqlens.push_back(frame * h * w);
  const auto tables = rope(grid_thw);
  auto x_PD = patch_embed_(mx::array(pixels.data.data(), {expected[0], expected[1]}, mx::float32));
  for (const auto& block : blocks_) x_PD = block(x_PD, tables, cu_seqlens);
  const auto merged = mx::reshape(ln_q_(x_PD), {t * h * w / (m * m), config_.embed_dim * m * m});
  return merger_mlp_(merged);
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
