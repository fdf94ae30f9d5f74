#include "models/vision/pixtral_tower.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/vision/tower_sizes.h"
#include "nn/positive.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;
constexpr float kEps = 1e-5f;

int patch_values(const PixtralTowerConfig& c) {
  return c.num_channels * c.patch_size * c.patch_size;
}

}  // namespace

PixtralTowerConfig read_pixtral_tower_config(const Json& config, const char* standard_act) {
  PixtralTowerConfig c;
  const std::string act = config.get_string("hidden_act", standard_act);
  if (act != "silu") c.hidden_act = nn::gelu_from_config(config, "hidden_act", standard_act);
  read_tower_sizes(config, c);
  if (c.hidden_size / c.num_attention_heads % 4 != 0) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected heads of a multiple of 4 by '{}' but got {} in {} heads", config.where(),
         config["num_attention_heads"].path(), c.hidden_size, c.num_attention_heads);
  }
  const double theta = nn::positive_number(config, "rope_theta", c.rope_theta);
  c.rope_theta =
      nn::positive_number(config.optional_object("rope_parameters"), "rope_theta", theta);
  return c;
}

class PixtralTower::Block : public nn::Module {
 public:
  explicit Block(const PixtralTowerConfig& c)
      : heads_(c.num_attention_heads),
        attention_norm_(c.hidden_size, kEps),
        qkv_(c.hidden_size, c.hidden_size, c.hidden_size, Bias::kNone, false),
        o_proj_(c.hidden_size, c.hidden_size, Bias::kNone),
        ffn_norm_(c.hidden_size, kEps),
        feed_forward_(c.hidden_size, c.intermediate_size, Bias::kNone, false, c.hidden_act) {}

  mx::array operator()(const mx::array& x_PD, const nn::RopeTables& rope) const {
    const auto [q, k, v] = qkv_(x_PD, attention_norm_);
    const auto mixed = attend_within(q, k, v, heads_, &rope, {0, x_PD.shape(0)}, qkv_.dtype());
    const auto h_PD = o_proj_(mixed, {.residual = x_PD});
    return feed_forward_(h_PD, ffn_norm_, h_PD);
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("attention_norm", attention_norm_);
    visitor.child("attention", qkv_);
    visitor.child("attention.o_proj", o_proj_);
    visitor.child("ffn_norm", ffn_norm_);
    visitor.child("feed_forward", feed_forward_);
  }

 private:
  int heads_;
  nn::RmsNorm attention_norm_;
  nn::QkvProjection qkv_;
  nn::Linear o_proj_;
  nn::RmsNorm ffn_norm_;
  nn::SwigluMlp feed_forward_;
};

PixtralTower::PixtralTower(const PixtralTowerConfig& c)
    : config_(c),
      patch_conv_(patch_values(c), c.hidden_size, Bias::kNone),
      ln_pre_(c.hidden_size, kEps) {
  for (int i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(c);
}

PixtralTower::~PixtralTower() = default;

// Of the frequencies of a plain rotation, the even ones turn by the row, the odd ones by the
// column.
nn::RopeTables PixtralTower::rope(int rows, int columns) const {
  const int head_dim = config_.hidden_size / config_.num_attention_heads;
  std::vector<float> frequencies;
  for (int i = 0; i < head_dim / 2; ++i) {
    frequencies.push_back(static_cast<float>(1 / std::pow(config_.rope_theta, 2.0 * i / head_dim)));
  }
  std::vector<float> angles;
  angles.reserve(static_cast<size_t>(rows) * columns * frequencies.size());
  const auto turn = [&](int position, size_t first) {
    for (size_t i = first; i < frequencies.size(); i += 2) {
      angles.push_back(static_cast<float>(position) * frequencies[i]);
    }
  };
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      turn(row, 0);
      turn(column, 1);
    }
  }
  const mx::array table(angles.data(), {rows * columns, head_dim / 2}, mx::float32);
  return {mx::cos(table), mx::sin(table)};
}

std::vector<mx::array> PixtralTower::forward(const HostTensor& pixels,
                                             const std::array<int, 3>& grid_thw,
                                             const std::vector<int>& layers) const {
  const auto [frames, rows, columns] = grid_thw;
  const std::vector<int> expected = {rows * columns, patch_values(config_)};
  if (pixels.shape != expected || rows < 1 || columns < 1) {
    fail(ErrorKind::kInvalidData,
         "[vision] expected pixels {} for a grid of {} x {} patches but got {}", expected, rows,
         columns, pixels.shape);
  }
  const auto tables = rope(rows, columns);
  const mx::array patches(pixels.data.data(), {expected[0], expected[1]}, mx::float32);
  std::vector<mx::array> states = {ln_pre_(patch_conv_(patches))};
  const int deepest = *std::max_element(layers.begin(), layers.end());
  for (int i = 0; i < deepest; ++i) {
    states.push_back(layers_[static_cast<size_t>(i)](states.back(), tables));
  }
  std::vector<mx::array> wanted;
  for (const int layer : layers) wanted.push_back(states[static_cast<size_t>(layer)]);
  return wanted;
}

void PixtralTower::visit(nn::Visitor& visitor) {
  visitor.child("patch_conv", patch_conv_);
  visitor.child("ln_pre", ln_pre_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.child(fmt::format("transformer.layers.{}", i), layers_[i]);
  }
}

}  // namespace fovea::models::vision
