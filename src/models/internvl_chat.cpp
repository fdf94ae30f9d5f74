// InternVL 2 to 3.5: InternViT on the tiles of a picture, 2 x 2 neighbours merged, a norm and a
// two-layer GELU projector, a qwen2, qwen3 or llama decoder. Sources: arXiv:2412.05271,
// arXiv:2504.10479, modeling_internvl_chat of the checkpoints, Hugging Face modeling_internvl.
// mlx-vlm takes the tanh GELU in the tower whatever vision_config.hidden_act says; ours is the
// config's.
#include <cmath>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/vision/intern_vit.h"
#include "models/vision/patches.h"

namespace fovea::models {
namespace {

constexpr float kProjectorEps = 1e-5f;
constexpr int kMergeMax = 16;  // far beyond any

// Released configs say llm_config, MLX's conversions also text_config.
Json text_config(const Json& config) {
  const Json released = config.optional_object("llm_config");
  return released.is_null() ? config["text_config"] : released;
}

// How many neighbours on each side become one token: 1 / downsample_ratio.
int merge_size(const Json& config) {
  const double ratio = config.get_double("downsample_ratio", 0.5);
  const double m = ratio > 0 ? std::round(1 / ratio) : 0;
  if (m < 1 || m > kMergeMax || std::abs(m * ratio - 1) > 1e-6) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected one over a whole number at 'downsample_ratio' but got {}", ratio);
  }
  return static_cast<int>(m);
}

// Blocks to run for the hidden state that select_layer counts, from the end where negative.
int feature_layer(const Json& config, int layers) {
  const int given = config.get_int("select_layer", -1);
  const int layer = given < 0 ? given + layers + 1 : given;
  if (layer < 0 || layer > layers) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected 'select_layer' within {} layers but got {}", layers, given);
  }
  return layer;
}

// The released code has a "v1", which exchanges rows and columns of what it merges; from InternVL
// 1.5 on, checkpoints say v2.
void require_pixel_shuffle_v2(const Json& config) {
  const std::string version = config.get_string("ps_version", "v2");
  if (version == "v2") return;
  fail(ErrorKind::kUnsupported, "[config.json] expected v2 at 'ps_version' but got '{}'", version);
}

class InternVlChat : public DecoderModel {
 public:
  explicit InternVlChat(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, internvl_chat_decoder_config(checkpoint)),
        tower_(vision::read_intern_vit_config(checkpoint.config["vision_config"])),
        layer_(feature_layer(checkpoint.config, tower_.config().num_hidden_layers)),
        merge_(merge_size(checkpoint.config)),
        width_(product_size(checkpoint.config, "merged patches",
                            {tower_.config().hidden_size, merge_, merge_})),
        norm_(width_, kProjectorEps),
        projector_(width_, decoder_.config().hidden_size, decoder_.config().hidden_size,
                   kernels::Gelu::kExact, nn::Linear::Bias::kPresent, "1", "3") {
    require_pixel_shuffle_v2(checkpoint.config);
  }

  mx::array encode_media(const MediaSpan& span) const override {
    const auto states = tower_.forward(span.pixels, layer_);
    const int tiles = span.pixels.shape[0];
    const int e = tower_.config().hidden_size;
    const int side = tower_.config().image_size / tower_.config().patch_size;
    const auto rows = mx::reshape(states, {tiles, tower_.rows_per_picture(), e});
    const auto grid = mx::reshape(mx::slice(rows, {0, 1, 0}, rows.shape()), {tiles, side, side, e});
    const auto merged = mx::reshape(vision::merge_neighbours(grid, merge_), {-1, width_});
    return projector_(norm_(merged));
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_model", tower_);
    visitor.child("mlp1.0", norm_);
    visitor.child("mlp1", projector_);
    visitor.child("language_model", decoder_);
  }

 protected:
  WeightNames weight_names() const override {
    return {[](const std::string& name) { return name; }, "language_model.",
            "vision_model.embeddings.patch_embedding", tower_.config().num_channels};
  }

 private:
  vision::InternVit tower_;
  int layer_;
  int merge_;
  int width_;
  nn::LayerNorm norm_;
  nn::GeluMlp projector_;
};

}  // namespace

text::DecoderConfig internvl_chat_decoder_config(const Checkpoint& checkpoint) {
  const Json text = text_config(checkpoint.config);
  return text::read_decoder_config(
      checkpoint.config, text,
      text::decoder_type(text.get_string("model_type", "qwen2"), "llm_config.model_type"));
}

std::unique_ptr<Model> make_internvl_chat(const Checkpoint& checkpoint) {
  return std::make_unique<InternVlChat>(checkpoint);
}

}  // namespace fovea::models
