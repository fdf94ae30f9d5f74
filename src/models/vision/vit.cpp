#include "models/vision/vit.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/vision/patches.h"
#include "models/vision/tower_sizes.h"
#include "nn/positive.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;

int patches_per_side(const VitConfig& c) { return c.image_size / c.patch_size; }

int row_count(const VitConfig& c) {
  return patches_per_side(c) * patches_per_side(c) + (c.has_class_row ? 1 : 0);
}

// What a tower's model_type says of it, and what holds where vision_config is silent: the defaults
// of Hugging Face's configuration classes.
struct VitType {
  const char* model_type;
  VitConfig standard;
};

constexpr VitConfig kIdefics3 = {.hidden_size = 1152,
                                 .intermediate_size = 3072,
                                 .num_attention_heads = 16,
                                 .patch_size = 32,
                                 .layer_norm_eps = 1e-6f,
                                 .hidden_act = kernels::Gelu::kTanh,
                                 .has_class_row = false};

constexpr VitType kTowers[] = {
    {.model_type = "clip_vision_model",
     .standard = {.patch_size = 32,
                  .layer_norm_eps = 1e-5f,
                  .hidden_act = kernels::Gelu::kQuick,
                  .has_class_row = true}},
    {.model_type = "siglip_vision_model",
     .standard = {.patch_size = 16,
                  .layer_norm_eps = 1e-6f,
                  .hidden_act = kernels::Gelu::kTanh,
                  .has_class_row = false}},
    {.model_type = "idefics3", .standard = kIdefics3},
    {.model_type = "idefics3_vision", .standard = kIdefics3},
    {.model_type = "smolvlm_vision", .standard = kIdefics3},
};

const VitType& tower_type(const std::string& model_type) {
  std::vector<std::string> names;
  for (const auto& row : kTowers) {
    if (model_type == row.model_type) return row;
    names.emplace_back(row.model_type);
  }
  fail(ErrorKind::kUnsupported, "[config.json] expected vision_config among {} but got '{}'",
       fmt::join(names, ", "), model_type);
}

}  // namespace

VitConfig read_vit_config(const Json& config, const std::string& standard_type) {
  return read_vit_config(config,
                         tower_type(config.get_string("model_type", standard_type)).standard);
}

VitConfig clip_large_336() {
  VitConfig c = tower_type("clip_vision_model").standard;
  c.hidden_size = 1024;
  c.intermediate_size = 4096;
  c.num_hidden_layers = 24;
  c.num_attention_heads = 16;
  c.image_size = 336;
  c.patch_size = 14;
  return c;
}

VitConfig siglip_so400m_384() {
  VitConfig c = tower_type("siglip_vision_model").standard;
  c.hidden_size = 1152;
  c.intermediate_size = 4304;
  c.num_hidden_layers = 27;
  c.num_attention_heads = 16;
  c.image_size = 384;
  c.patch_size = 14;
  return c;
}

VitConfig read_vit_config(const Json& config, const VitConfig& standard) {
  VitConfig c = standard;
  read_tower_sizes(config, c);
  c.layer_norm_eps =
      static_cast<float>(nn::positive_number(config, "layer_norm_eps", c.layer_norm_eps));
  if (!config["hidden_act"].is_null()) {
    c.hidden_act = nn::gelu_from_config(config, "hidden_act", "gelu");
  }
  return c;
}

Vit::Vit(const VitConfig& c)
    : config_(c),
      class_embedding_(mx::zeros({c.hidden_size})),
      patch_embedding_(c.num_channels * c.patch_size * c.patch_size, c.hidden_size,
                       c.has_class_row ? Bias::kNone : Bias::kPresent),
      position_embedding_(row_count(c), c.hidden_size),
      pre_layrnorm_(c.hidden_size, c.layer_norm_eps),
      post_layernorm_(c.hidden_size, c.layer_norm_eps) {
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    layers_.emplace_back(c.hidden_size, c.intermediate_size, c.num_attention_heads,
                         c.layer_norm_eps, c.hidden_act);
  }
}

mx::array Vit::embed(const HostTensor& pixels) const {
  const int b = pixels.shape[0];
  const auto patches =
      patch_embedding_(unfold_patches(pixels, config_.image_size, config_.patch_size));
  auto x_BPD = mx::reshape(patches, {b, patches.shape(0) / b, config_.hidden_size});
  if (config_.has_class_row) {
    const auto first = mx::astype(class_embedding_, mx::float32);
    x_BPD = mx::concatenate({mx::broadcast_to(first, {b, 1, config_.hidden_size}), x_BPD}, 1);
  }
  x_BPD = mx::add(x_BPD, position_embedding_.all());
  const auto rows = mx::reshape(x_BPD, {b * x_BPD.shape(1), config_.hidden_size});
  return config_.has_class_row ? pre_layrnorm_(rows) : rows;
}

std::vector<mx::array> Vit::pass(const HostTensor& pixels, const std::vector<int>& layers) const {
  std::vector<int> cu_seqlens;
  for (int i = 0; i <= pixels.shape[0]; ++i) cu_seqlens.push_back(i * rows_per_picture());
  std::vector<mx::array> states = {embed(pixels)};
  const int deepest = *std::max_element(layers.begin(), layers.end());
  for (int i = 0; i < deepest; ++i) {
    states.push_back(layers_[static_cast<size_t>(i)](states.back(), cu_seqlens));
  }
  std::vector<mx::array> wanted;
  for (const int layer : layers) wanted.push_back(states[static_cast<size_t>(layer)]);
  return wanted;
}

void Vit::check_pixels(const HostTensor& pixels) const {
  const int count = pixels.shape.empty() ? 0 : pixels.shape[0];
  const std::vector<int> expected = {std::max(count, 1), config_.num_channels, config_.image_size,
                                     config_.image_size};
  if (pixels.shape != expected) {
    fail(ErrorKind::kInvalidData, "[vision] expected pixels {} but got {}", expected, pixels.shape);
  }
}

std::vector<mx::array> Vit::forward(const HostTensor& pixels,
                                    const std::vector<int>& layers) const {
  check_pixels(pixels);
  return in_passes(pixels, rows_per_picture(),
                   [&](const HostTensor& some) { return pass(some, layers); });
}

mx::array Vit::encode(const HostTensor& pixels) const {
  check_pixels(pixels);
  return in_passes(pixels, rows_per_picture(), [&](const HostTensor& some) {
    const auto last = pass(some, {config_.num_hidden_layers})[0];
    return std::vector<mx::array>{post_layernorm_(last)};
  })[0];
}

void Vit::visit(nn::Visitor& visitor) {
  if (config_.has_class_row) {
    visitor.parameter("embeddings.class_embedding", class_embedding_);
    visitor.child("pre_layrnorm", pre_layrnorm_);
  }
  visitor.child("embeddings.patch_embedding", patch_embedding_);
  visitor.child("embeddings.position_embedding", position_embedding_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.child(fmt::format("encoder.layers.{}", i), layers_[i]);
  }
  visitor.child("post_layernorm", post_layernorm_);
}

}  // namespace fovea::models::vision
