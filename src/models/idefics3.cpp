// Idefics3 and SmolVLM: a picture as tiles through a SigLIP tower, neighbours of scale_factor x
// scale_factor patches as one row through a linear layer, a llama decoder. Sources:
// arXiv:2408.12637, arXiv:2504.05299, Hugging Face modeling_idefics3, mlx_vlm/models/idefics3.
// Tiles are squares of the tower's own size, whose patches have the positions 0, 1, 2, ...; mlx-vlm
// finds them by comparing rounded fractions, which repeats and skips some on sides of 26 and 27
// patches.
//
// Legend: B tiles, P patches of one, N tokens of the picture, E tower width, D hidden size.
#include "mlx/ops.h"
#include "models/config.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/vision/patches.h"
#include "models/vision/vit.h"

namespace fovea::models {
namespace {

constexpr int kScaleFactorMax = 16;

// Hugging Face (model.text_model., model.vision_model., model.connector., lm_head.) and MLX names.
std::string module_path(const std::string& name) {
  return replace_prefix(name, {{"model.text_model.", "language_model."},
                               {"model.", ""},
                               {"lm_head.", "language_model.lm_head."}});
}

class Idefics3 : public DecoderModel {
 public:
  explicit Idefics3(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, idefics3_decoder_config(checkpoint)),
        tower_(vision::read_vit_config(checkpoint.config.optional_object("vision_config"),
                                       "idefics3_vision")),
        scale_(optional_size(checkpoint.config, "scale_factor", 2, kScaleFactorMax)),
        connector_(product_size(checkpoint.config, "shuffled patches",
                                {tower_.config().hidden_size, scale_, scale_}),
                   decoder_.config().hidden_size, nn::Linear::Bias::kNone) {
    if (side() % scale_ != 0) {
      fail(
          ErrorKind::kInvalidData,
          "[config.json] expected 'scale_factor' to divide the {} patches of a tile's side but got "
          "{}",
          side(), scale_);
    }
  }

  mx::array encode_media(const MediaSpan& span) const override {
    const auto rows = tower_.encode(span.pixels);
    const int e = tower_.config().hidden_size;
    const auto together =
        vision::merge_neighbours(mx::reshape(rows, {-1, side(), side(), e}), scale_);
    return connector_(mx::reshape(together, {-1, scale_ * scale_ * e}));
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_model", tower_);
    visitor.child("connector.modality_projection.proj", connector_);
    visitor.child("language_model", decoder_);
  }

 protected:
  WeightNames weight_names() const override {
    return {module_path, "language_model.", "vision_model.embeddings.patch_embedding",
            tower_.config().num_channels};
  }

 private:
  int side() const { return tower_.config().image_size / tower_.config().patch_size; }

  vision::Vit tower_;
  int scale_;
  nn::Linear connector_;
};

}  // namespace

text::DecoderConfig idefics3_decoder_config(const Checkpoint& checkpoint) {
  auto config = llava_decoder_config(checkpoint);
  config.body = "";
  return config;
}

std::unique_ptr<Model> make_idefics3(const Checkpoint& checkpoint) {
  return std::make_unique<Idefics3>(checkpoint);
}

}  // namespace fovea::models
