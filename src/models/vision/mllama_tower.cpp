#include "models/vision/mllama_tower.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/vision/patches.h"
#include "models/vision/tower_sizes.h"
#include "nn/positive.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;

constexpr int kTilesMax = 64;  // far beyond any tower
// Hugging Face gives the norms around the blocks none of the config's.
constexpr float kOuterNormEps = 1e-5f;
constexpr int kRowsMultiple = 8;

// Rows that fill a tile up.
int filling_rows(const MllamaTowerConfig& c) {
  return (kRowsMultiple - c.rows_per_tile() % kRowsMultiple) % kRowsMultiple;
}

std::vector<int> read_layers(const Json& config, const MllamaTowerConfig& c) {
  const Json list = config["intermediate_layers_indices"];
  const auto layers = list.is_null() ? c.intermediate_layers_indices : list.as_int_list();
  for (const int layer : layers) {
    if (layer >= 0 && layer < c.num_hidden_layers) continue;
    fail(ErrorKind::kInvalidData,
         "[{}] expected 'intermediate_layers_indices' below {} layers but got {}", config.where(),
         c.num_hidden_layers, layer);
  }
  return layers;
}

std::vector<std::array<int, 2>> read_ratios(const Json& config, const MllamaTowerConfig& c) {
  const Json list = config["supported_aspect_ratios"];
  auto ratios = c.supported_aspect_ratios;
  if (!list.is_null()) ratios.clear();
  for (size_t i = 0; i < list.size(); ++i) {
    const auto pair = list.at(i).as_int_list();
    ratios.push_back(pair.size() == 2 ? std::array{pair[0], pair[1]} : std::array{0, 0});
  }
  for (const auto& [rows, columns] : ratios) {
    if (rows >= 1 && columns >= 1 && int64_t{rows} * columns <= c.max_num_tiles) continue;
    fail(ErrorKind::kInvalidData,
         "[{}] expected pairs of at most {} tiles at 'supported_aspect_ratios' but got {}",
         config.where(), c.max_num_tiles, list.dump());
  }
  return ratios;
}

// How much a gate lets through.
mx::array openness(const mx::array& gate) { return mx::tanh(mx::astype(gate, mx::float32)); }

}  // namespace

int MllamaTowerConfig::rows_per_tile() const {
  const int side = image_size / patch_size;
  return side * side + 1;
}

int MllamaTowerConfig::vision_output_dim() const {
  return hidden_size * (1 + static_cast<int>(intermediate_layers_indices.size()));
}

MllamaTowerConfig read_mllama_tower_config(const Json& config) {
  MllamaTowerConfig c;
  c.num_global_layers = optional_size(config, "num_global_layers", c.num_global_layers, kLayersMax);
  // mlx-vlm and Hugging Face know the heads by the second name too.
  const bool newer = config["attention_heads"].is_null();
  read_tower_sizes(config, c, newer ? "num_attention_heads" : "attention_heads");
  c.max_num_tiles = optional_size(config, "max_num_tiles", c.max_num_tiles, kTilesMax);
  c.norm_eps = static_cast<float>(nn::positive_number(config, "norm_eps", c.norm_eps));
  c.hidden_act = nn::gelu_from_config(config, "hidden_act", "gelu");
  c.intermediate_layers_indices = read_layers(config, c);
  c.supported_aspect_ratios = read_ratios(config, c);
  product_size(config, "positions of tiles", {c.max_num_tiles, c.rows_per_tile(), c.hidden_size});
  product_size(config, "features", {c.hidden_size, 1 + int(c.intermediate_layers_indices.size())});
  const int told = config.get_int("vision_output_dim", c.vision_output_dim());
  if (told != c.vision_output_dim()) {
    fail(ErrorKind::kInvalidData, "[{}] expected 'vision_output_dim' {} but got {}", config.where(),
         c.vision_output_dim(), told);
  }
  return c;
}

class MllamaTower::Block : public nn::Module {
 public:
  Block(const MllamaTowerConfig& c, bool is_gated)
      : heads_(c.num_attention_heads),
        input_layernorm_(c.hidden_size, c.norm_eps),
        q_proj_(c.hidden_size, c.hidden_size, Bias::kNone),
        k_proj_(c.hidden_size, c.hidden_size, Bias::kNone),
        v_proj_(c.hidden_size, c.hidden_size, Bias::kNone),
        o_proj_(c.hidden_size, c.hidden_size, Bias::kNone),
        post_attention_layernorm_(c.hidden_size, c.norm_eps),
        mlp_(c.hidden_size, c.intermediate_size, c.hidden_size, c.hidden_act) {
    if (!is_gated) return;
    gate_attn_ = mx::zeros({1});
    gate_ffn_ = mx::zeros({1});
  }

  // Rows from `filled` on are none of the picture.
  mx::array operator()(const mx::array& x_RD, int filled) const {
    const auto mixed_RD = attend(input_layernorm_(x_RD), filled);
    if (!gate_attn_) {
      const auto h_RD = o_proj_(mixed_RD, {.residual = x_RD});
      return mlp_(post_attention_layernorm_(h_RD), h_RD);
    }
    const auto h_RD = mx::add(x_RD, mx::multiply(o_proj_(mixed_RD), openness(*gate_attn_)));
    const auto out_RD = mlp_(post_attention_layernorm_(h_RD));
    return mx::add(h_RD, mx::multiply(out_RD, openness(*gate_ffn_)));
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("input_layernorm", input_layernorm_);
    visitor.child("self_attn.q_proj", q_proj_);
    visitor.child("self_attn.k_proj", k_proj_);
    visitor.child("self_attn.v_proj", v_proj_);
    visitor.child("self_attn.o_proj", o_proj_);
    visitor.child("post_attention_layernorm", post_attention_layernorm_);
    visitor.child("mlp", mlp_);
    if (!gate_attn_) return;
    visitor.parameter("gate_attn", *gate_attn_);
    visitor.parameter("gate_ffn", *gate_ffn_);
  }

 private:
  mx::array attend(const mx::array& x_RD, int filled) const {
    const auto q = q_proj_(x_RD);
    const auto k = k_proj_(x_RD);
    const auto v = v_proj_(x_RD);
    const auto part = [](const mx::array& x, int begin, int end) {
      return mx::slice(x, {begin, 0}, {end, x.shape(1)});
    };
    const auto dtype = q_proj_.dtype();
    const auto of_picture = attend_to(part(q, 0, filled), k, v, heads_, dtype);
    if (filled == x_RD.shape(0)) return of_picture;
    const auto others = attend_to(part(q, filled, q.shape(0)), part(k, 0, filled),
                                  part(v, 0, filled), heads_, dtype);
    return mx::concatenate({of_picture, others}, 0);
  }

  int heads_;
  nn::LayerNorm input_layernorm_;
  nn::Linear q_proj_;
  nn::Linear k_proj_;
  nn::Linear v_proj_;
  nn::Linear o_proj_;
  nn::LayerNorm post_attention_layernorm_;
  nn::GeluMlp mlp_;
  std::optional<mx::array> gate_attn_;
  std::optional<mx::array> gate_ffn_;
};

void MllamaTower::TileEmbedding::visit(nn::Visitor& visitor) {
  visitor.child("embedding", embedding);
  visitor.parameter("gate", gate);
}

MllamaTower::PositionEmbedding::PositionEmbedding(int ratios, int rows, int tiles, int width)
    : gate(mx::zeros({1})),
      embedding_PD(mx::zeros({rows, width})),
      tile_embedding(ratios, tiles * rows * width) {}

void MllamaTower::PositionEmbedding::visit(nn::Visitor& visitor) {
  visitor.parameter("gate", gate);
  visitor.parameter("embedding", embedding_PD);
  visitor.child("tile_embedding", tile_embedding);
}

namespace {

// Id 0 is of no picture.
int ratio_rows(const MllamaTowerConfig& c) {
  return static_cast<int>(c.supported_aspect_ratios.size()) + 1;
}

}  // namespace

MllamaTower::MllamaTower(const MllamaTowerConfig& c)
    : config_(c),
      patch_embedding_(c.num_channels * c.patch_size * c.patch_size, c.hidden_size, Bias::kNone),
      class_embedding_(mx::zeros({c.hidden_size})),
      gated_positional_embedding_(ratio_rows(c), c.rows_per_tile(), c.max_num_tiles, c.hidden_size),
      pre_tile_positional_embedding_(ratio_rows(c), c.max_num_tiles * c.hidden_size),
      post_tile_positional_embedding_(ratio_rows(c), c.max_num_tiles * c.hidden_size),
      layernorm_pre_(c.hidden_size, kOuterNormEps),
      layernorm_post_(c.hidden_size, kOuterNormEps) {
  for (int i = 0; i < c.num_hidden_layers; ++i) transformer_.emplace_back(c, false);
  for (int i = 0; i < c.num_global_layers; ++i) global_transformer_.emplace_back(c, true);
}

MllamaTower::~MllamaTower() = default;

int MllamaTower::aspect_ratio_id(const HostTensor& pixels, const std::array<int, 2>& tiles) const {
  const auto& ratios = config_.supported_aspect_ratios;
  const auto found = std::find(ratios.begin(), ratios.end(), tiles);
  if (found == ratios.end()) {
    fail(ErrorKind::kInvalidData,
         "[vision] expected tiles in one of {} 'supported_aspect_ratios' but got {}x{}",
         ratios.size(), tiles[0], tiles[1]);
  }
  const std::vector<int> expected = {tiles[0] * tiles[1], config_.num_channels, config_.image_size,
                                     config_.image_size};
  if (pixels.shape != expected) {
    fail(ErrorKind::kInvalidData, "[vision] expected pixels {} but got {}", expected, pixels.shape);
  }
  return static_cast<int>(found - ratios.begin()) + 1;
}

// What the table adds to each tile, behind its gate: [T, 1, D].
mx::array MllamaTower::tile_rows(const TileEmbedding& table, int ratio) const {
  const auto row = table.embedding(std::array{int32_t{ratio}});
  return mx::multiply(mx::reshape(row, {config_.max_num_tiles, 1, config_.hidden_size}),
                      openness(table.gate));
}

// [T, P, D]. A tile without pixels has patches of zeros, as black ones of mean 0 would give.
mx::array MllamaTower::embed(const HostTensor& pixels, int ratio) const {
  const int tiles = config_.max_num_tiles;
  const int d = config_.hidden_size;
  const int filled = pixels.shape[0];
  const auto patches =
      patch_embedding_(unfold_patches(pixels, config_.image_size, config_.patch_size));
  auto x = mx::reshape(patches, {filled, config_.rows_per_tile() - 1, d});
  x = mx::pad(x, {{0, tiles - filled}, {0, 0}, {0, 0}});
  x = mx::add(x, tile_rows(pre_tile_positional_embedding_, ratio));
  const auto first = mx::broadcast_to(mx::astype(class_embedding_, mx::float32), {tiles, 1, d});
  x = mx::concatenate({first, x}, 1);
  const auto& positions = gated_positional_embedding_;
  const auto gate = openness(positions.gate);
  x = mx::add(x, mx::multiply(mx::subtract(mx::array(1.0f), gate),
                              mx::astype(positions.embedding_PD, mx::float32)));
  const auto of_tiles = positions.tile_embedding(std::array{int32_t{ratio}});
  return mx::add(x, mx::multiply(mx::reshape(of_tiles, x.shape()), gate));
}

mx::array MllamaTower::encode(const HostTensor& pixels, const std::array<int, 2>& tiles) const {
  const int ratio = aspect_ratio_id(pixels, tiles);
  const int d = config_.hidden_size;
  const int count = config_.max_num_tiles;
  const int rows = config_.rows();
  const int filling = count * filling_rows(config_);
  const int filled = tiles[0] * tiles[1] * config_.rows_per_tile();
  const auto embedded = mx::reshape(embed(pixels, ratio), {rows, d});
  auto x_RD = mx::pad(layernorm_pre_(embedded), {{0, filling}, {0, 0}});
  std::vector<mx::array> before;  // each local block
  for (const auto& block : transformer_) {
    before.push_back(x_RD);
    x_RD = block(x_RD, filled);
  }
  const auto places = tile_rows(post_tile_positional_embedding_, ratio);
  const auto over = [&](int each) {
    return mx::reshape(mx::broadcast_to(places, {count, each, d}), {count * each, d});
  };
  x_RD = mx::add(layernorm_post_(x_RD),
                 mx::concatenate({over(config_.rows_per_tile()), over(filling_rows(config_))}, 0));
  for (const auto& block : global_transformer_) x_RD = block(x_RD, filled);
  const auto of_tiles = [&](const mx::array& x) { return mx::slice(x, {0, 0}, {rows, d}); };
  std::vector<mx::array> wanted;
  for (const int layer : config_.intermediate_layers_indices) {
    wanted.push_back(of_tiles(before[static_cast<size_t>(layer)]));
  }
  if (wanted.empty()) return of_tiles(x_RD);
  // Value by value, not state by state.
  const auto states = mx::reshape(mx::stack(wanted, -1), {rows, -1});
  return mx::concatenate({of_tiles(x_RD), states}, 1);
}

void MllamaTower::visit(nn::Visitor& visitor) {
  visitor.child("patch_embedding", patch_embedding_);
  visitor.parameter("class_embedding", class_embedding_);
  visitor.child("gated_positional_embedding", gated_positional_embedding_);
  visitor.child("pre_tile_positional_embedding", pre_tile_positional_embedding_);
  visitor.child("post_tile_positional_embedding", post_tile_positional_embedding_);
  visitor.child("layernorm_pre", layernorm_pre_);
  visitor.child("layernorm_post", layernorm_post_);
  for (size_t i = 0; i < transformer_.size(); ++i) {
    visitor.child(fmt::format("transformer.layers.{}", i), transformer_[i]);
  }
  for (size_t i = 0; i < global_transformer_.size(); ++i) {
    visitor.child(fmt::format("global_transformer.layers.{}", i), global_transformer_[i]);
  }
}

}  // namespace fovea::models::vision
