#include "models/llava_model.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/families.h"

namespace fovea::models {
namespace {

// CLIP's next to last layer without its class row, unless the config says otherwise.
bool drops_first_row(const Json& config) {
  const std::string strategy = config.get_string("vision_feature_select_strategy", "default");
  if (strategy != "default" && strategy != "full") {
    fail(ErrorKind::kUnsupported,
         "[config.json] expected 'vision_feature_select_strategy' default or full but got '{}'",
         strategy);
  }
  return strategy == "default";
}

// LLaVA 1.5's tower, CLIP-L of 336 pixels, where the config has none.
vision::VitConfig tower_config(const Json& config) {
  const Json vision = config.optional_object("vision_config");
  if (!vision.is_null()) return vision::read_vit_config(vision);
  return vision::clip_large_336();
}

}  // namespace

std::vector<int> feature_layers(const Json& config, int num_hidden_layers, int standard) {
  const Json value = config["vision_feature_layer"];
  std::vector<int> layers = {standard};
  if (value.is_array()) layers = value.as_int_list();
  if (!value.is_array() && !value.is_null()) layers = {value.as_int32()};
  if (layers.empty()) {
    fail(ErrorKind::kInvalidData, "[config.json] expected layers at 'vision_feature_layer'");
  }
  for (int& layer : layers) {
    const int given = layer;
    if (layer < 0) layer += num_hidden_layers + 1;
    if (layer < 0 || layer > num_hidden_layers) {
      fail(ErrorKind::kInvalidData,
           "[config.json] expected 'vision_feature_layer' within {} layers but got {}",
           num_hidden_layers, given);
    }
  }
  return layers;
}

text::DecoderConfig llava_decoder_config(const Checkpoint& checkpoint) {
  const Json text = checkpoint.config["text_config"];
  return text::read_decoder_config(
      checkpoint.config, text,
      text::decoder_type(text.get_string("model_type", "llama"), "text_config.model_type"));
}

LlavaModel::LlavaModel(const Checkpoint& checkpoint)
    : VitModel(checkpoint, llava_decoder_config(checkpoint), tower_config(checkpoint.config)),
      layers_(feature_layers(checkpoint.config, tower_.config().num_hidden_layers)),
      projector_(projector_inputs(checkpoint.config), decoder_.config().hidden_size,
                 decoder_.config().hidden_size,
                 nn::gelu_from_config(checkpoint.config, "projector_hidden_act", "gelu"),
                 checkpoint.config.get_bool("multimodal_projector_bias", true)
                     ? nn::Linear::Bias::kPresent
                     : nn::Linear::Bias::kNone,
                 "linear_1", "linear_2"),
      drops_first_row_(drops_first_row(checkpoint.config)) {}

int LlavaModel::projector_inputs(const Json& config) const {
  return product_size(config, "features",
                      {tower_.config().hidden_size, static_cast<int>(layers_.size())});
}

int LlavaModel::tokens_per_picture() const {
  return tower_.rows_per_picture() - (drops_first_row_ ? 1 : 0);
}

mx::array LlavaModel::project(const HostTensor& pixels) const {
  auto features = mx::concatenate(tower_.forward(pixels, layers_), 1);
  if (drops_first_row_) {
    const int b = pixels.shape[0];
    const int width = features.shape(1);
    const auto rows = mx::reshape(features, {b, tower_.rows_per_picture(), width});
    features =
        mx::reshape(mx::slice(rows, {0, 1, 0}, rows.shape()), {b * tokens_per_picture(), width});
  }
  return projector_(features);
}

void LlavaModel::visit(nn::Visitor& visitor) {
  VitModel::visit(visitor);
  visitor.child("multi_modal_projector", projector_);
}

}  // namespace fovea::models
