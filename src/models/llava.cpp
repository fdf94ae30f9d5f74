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

namespace fovea::models {
namespace {

// vision_feature_layer: one hidden state or several, counted from the end when negative.
std::vector<int> feature_layers(const Json& config, int num_hidden_layers) {
  const Json value = config["vision_feature_layer"];
  std::vector<int> layers = {-2};
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
  return vision::read_vit_config(Json::parse(
      R"({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
          "num_attention_heads": 16, "image_size": 336, "patch_size": 14})",
      "config.json"));
}

class Llava : public DecoderModel {
 public:
  explicit Llava(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, llava_decoder_config(checkpoint)),
        tower_(tower_config(checkpoint.config)),
        layers_(feature_layers(checkpoint.config, tower_.config().num_hidden_layers)),
        projector_(projector_inputs(checkpoint.config), decoder_.config().hidden_size,
                   decoder_.config().hidden_size,
                   nn::gelu_from_config(checkpoint.config, "projector_hidden_act", "gelu"),
                   checkpoint.config.get_bool("multimodal_projector_bias", true)
                       ? nn::Linear::Bias::kPresent
                       : nn::Linear::Bias::kNone,
                   "linear_1", "linear_2"),
        drops_first_row_(drops_first_row(checkpoint.config)) {}

  mx::array encode_media(const MediaSpan& span) const override {
    auto features = mx::concatenate(tower_.forward(span.pixels, layers_), 1);
    if (drops_first_row_) {
      features = mx::slice(features, {1, 0}, {features.shape(0), features.shape(1)});
    }
    return projector_(features);
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_tower.vision_model", tower_);
    visitor.child("multi_modal_projector", projector_);
    visitor.child("language_model", decoder_);
  }

 protected:
  WeightNames weight_names() const override {
    return {tower_projector_decoder_path, "language_model.",
            "vision_tower.vision_model.embeddings.patch_embedding", tower_.config().num_channels};
  }

 private:
  int projector_inputs(const Json& config) const {
    return product_size(config, "features",
                        {tower_.config().hidden_size, static_cast<int>(layers_.size())});
  }

  vision::Vit tower_;
  std::vector<int> layers_;
  nn::GeluMlp projector_;
  bool drops_first_row_;
};

}  // namespace

text::DecoderConfig llava_decoder_config(const Checkpoint& checkpoint) {
  const Json text = checkpoint.config["text_config"];
  auto config = text::read_decoder_config(
      text, text::decoder_type(text.get_string("model_type", "llama"), "text_config.model_type"));
  config.tie_word_embeddings = tie_word_embeddings(checkpoint.config);
  return config;
}

std::unique_ptr<Model> make_llava(const Checkpoint& checkpoint) {
  return std::make_unique<Llava>(checkpoint);
}

}  // namespace fovea::models
