// LLaVA 1.5: a CLIP or SigLIP tower, a two-layer GELU projector, a llama, qwen2 or mistral decoder.
// Sources: arXiv:2310.03744, Hugging Face modeling_llava, mlx_vlm/models/llava. The towers'
// activation follows vision_config.hidden_act as in Hugging Face; mlx-vlm always takes quick_gelu.
//
// Legend: N tokens of one picture, D hidden size, E tower width.
#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/names.h"
#include "models/vision/vit.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

// Released (language_model., vision_tower.vision_model.), newer (model.language_model., ...), as
// transformers 5 writes them (vision_tower. without vision_model.) and MLX names.
std::string module_path(const std::string& name) {
  const std::string path =
      replace_prefix(name, {{"model.language_model.", "language_model.model."},
                            {"model.vision_tower.", "vision_tower."},
                            {"model.multi_modal_projector.", "multi_modal_projector."},
                            {"lm_head.", "language_model.lm_head."}});
  if (path.starts_with("vision_tower.vision_model.")) return path;
  return replace_prefix(path, {{"vision_tower.", "vision_tower.vision_model."}});
}

bool is_pooling_head(const std::string& name) {
  return name.starts_with("vision_tower.vision_model.head.");
}

text::DecoderConfig decoder_config(const Json& config) {
  const Json text = config["text_config"];
  const std::string type = text.get_string("model_type", "llama");
  if (type != "llama" && type != "qwen2" && type != "mistral") {
    fail(ErrorKind::kUnsupported,
         "[config.json] expected text_config of llama, qwen2 or mistral but got '{}'", type);
  }
  return text::read_decoder_config(text, type, config.get_bool("tie_word_embeddings", false));
}

// vision_feature_layer: one hidden state or several, counted from the end when negative.
std::vector<int> feature_layers(const Json& config, int num_hidden_layers) {
  const Json value = config["vision_feature_layer"];
  std::vector<int> layers = {-2};
  if (value.is_array()) layers = value.as_int_list();
  if (value.is_integer()) layers = {value.as_int32()};
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

class Llava : public DecoderModel {
 public:
  explicit Llava(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, decoder_config(checkpoint.config),
                     checkpoint.config["text_config"]),
        tower_(vision::read_vit_config(checkpoint.config["vision_config"])),
        layers_(feature_layers(checkpoint.config, tower_.config().num_hidden_layers)),
        projector_(tower_.config().hidden_size * static_cast<int>(layers_.size()),
                   decoder_.config().hidden_size, decoder_.config().hidden_size,
                   nn::gelu_from_config(checkpoint.config, "projector_hidden_act", "gelu"),
                   "linear_1", "linear_2") {
    info_.takes_images = true;
    const std::string strategy =
        checkpoint.config.get_string("vision_feature_select_strategy", "default");
    if (strategy != "default" && strategy != "full") {
      fail(ErrorKind::kUnsupported,
           "[config.json] expected 'vision_feature_select_strategy' default or full but got '{}'",
           strategy);
    }
    drops_first_row_ = strategy == "default";
  }

  mx::array encode_media(const MediaSpan& span) const override {
    auto features = mx::concatenate(tower_.forward(span.pixels, layers_), 1);
    if (drops_first_row_) {
      features = mx::slice(features, {1, 0}, {features.shape(0), features.shape(1)});
    }
    return projector_(features);
  }

  void prepare_weights(nn::Weights& weights) const override {
    weights.rename(drop_unused(
        [](const std::string& name) {
          const auto path = module_path(name);
          return is_pooling_head(path) ? std::string() : path;
        },
        info_.tied_lm_head));
    weights.transform("vision_tower.vision_model.embeddings.patch_embedding.weight",
                      [this](const mx::array& w) {
                        return nn::flatten_conv_weight(w, tower_.config().num_channels);
                      });
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_tower.vision_model", tower_);
    visitor.child("multi_modal_projector", projector_);
    visitor.child("language_model", decoder_);
  }

 private:
  vision::Vit tower_;
  std::vector<int> layers_;
  nn::GeluMlp projector_;
  bool drops_first_row_ = true;
};

}  // namespace

std::unique_ptr<Model> make_llava(const Checkpoint& checkpoint) {
  return std::make_unique<Llava>(checkpoint);
}

}  // namespace fovea::models
