#include "models/vision/vit.h"

#include <algorithm>
#include <cassert>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;

int patches_per_side(const VitConfig& c) { return c.image_size / c.patch_size; }

int row_count(const VitConfig& c) {
  return patches_per_side(c) * patches_per_side(c) + (c.has_class_row ? 1 : 0);
}

// [1, C, H, W] -> rows of C * patch * patch values, in the order of the convolution's weight.
mx::array unfold(const HostTensor& pixels, const VitConfig& c) {
  const int side = patches_per_side(c);
  const int p = c.patch_size;
  const mx::array image(pixels.data.data(), {c.num_channels, c.image_size, c.image_size},
                        mx::float32);
  const auto used = mx::slice(image, {0, 0, 0}, {c.num_channels, side * p, side * p});
  const auto blocks = mx::reshape(used, {c.num_channels, side, p, side, p});
  return mx::reshape(mx::transpose(blocks, {1, 3, 0, 2, 4}), {side * side, c.num_channels * p * p});
}

}  // namespace

VitConfig read_vit_config(const Json& config) {
  const std::string type = config.get_string("model_type", "clip_vision_model");
  const bool clip = type == "clip_vision_model";
  if (!clip && type != "siglip_vision_model") {
    fail(ErrorKind::kUnsupported,
         "[config.json] expected vision_config of clip_vision_model or siglip_vision_model but got "
         "'{}'",
         type);
  }
  VitConfig c;
  c.hidden_size = required_size(config, "hidden_size");
  c.intermediate_size = required_size(config, "intermediate_size");
  c.num_hidden_layers = required_size(config, "num_hidden_layers");
  c.num_attention_heads = required_size(config, "num_attention_heads");
  require_multiple(config, "hidden_size", "num_attention_heads");
  c.image_size = required_size(config, "image_size");
  c.patch_size = required_size(config, "patch_size");
  c.num_channels = config.get_int("num_channels", 3);
  c.layer_norm_eps = static_cast<float>(config.get_double("layer_norm_eps", clip ? 1e-5 : 1e-6));
  c.hidden_act =
      nn::gelu_from_config(config, "hidden_act", clip ? "quick_gelu" : "gelu_pytorch_tanh");
  c.has_class_row = clip;
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
  auto x_PD = patch_embedding_(unfold(pixels, config_));
  if (config_.has_class_row) {
    const auto first = mx::astype(mx::reshape(class_embedding_, {1, -1}), mx::float32);
    x_PD = mx::concatenate({first, x_PD}, 0);
  }
  x_PD = mx::add(x_PD, position_embedding_.all());
  return config_.has_class_row ? pre_layrnorm_(x_PD) : x_PD;
}

std::vector<mx::array> Vit::forward(const HostTensor& pixels,
                                    const std::vector<int>& layers) const {
  const std::vector<int> expected = {1, config_.num_channels, config_.image_size,
                                     config_.image_size};
  if (pixels.shape != expected) {
    fail(ErrorKind::kInvalidData, "[vision] expected pixels {} but got {}", expected, pixels.shape);
  }
  std::vector<mx::array> states = {embed(pixels)};
  const int deepest = *std::max_element(layers.begin(), layers.end());
  for (int i = 0; i < deepest; ++i) {
    states.push_back(layers_[static_cast<size_t>(i)](states.back()));
  }
  std::vector<mx::array> wanted;
  for (const int layer : layers) wanted.push_back(states[static_cast<size_t>(layer)]);
  return wanted;
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
