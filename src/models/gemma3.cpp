// Gemma 3: a SigLIP tower whose patches are averaged to a few rows, a linear layer behind a norm, a
// decoder of which most layers see a window, and in which a picture's tokens see each other.
// Sources: arXiv:2503.19786, Hugging Face modeling_gemma3, mlx_vlm/models/gemma3; where they
// differ, Hugging Face (docs/parity.md).
//
// Legend: B squares of one picture, P patches of a side, E tower width, D hidden size.
#include <cmath>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/families.h"
#include "models/vit_model.h"

namespace fovea::models {
namespace {

// What Hugging Face's Gemma3TextConfig says where config.json is silent (text/decoder.h).
constexpr text::DecoderType kDecoder = {
    .model_type = "gemma3",
    .qkv_bias = false,
    .sliding = text::Sliding::kPattern,
    .vocab_size = 262208,
    .hidden_size = 2304,
    .intermediate_size = 9216,
    .num_hidden_layers = 26,
    .num_attention_heads = 8,
    .num_key_value_heads = 4,
    .max_position_embeddings = 131072,
    .rms_norm_eps = 1e-6f,
    .rope_theta = 1e6,
    .sliding_window = 4096,
    .max_window_layers = 0,
    .head_dim = 256,
    .qk_norm = true,
    .sliding_window_pattern = 6,
    .rope_local_base_freq = 1e4,
    .gelu = "gelu_pytorch_tanh",
    .norm_offset = 1,
    .sandwich_norms = true,
    .scaled_embeddings = true,
    .query_pre_attn_scalar = 256,
};

// mm_tokens_per_image, a square: rows and columns of what becomes tokens.
int tokens_per_side(const Json& config, int patches) {
  const int tokens = optional_size(config, "mm_tokens_per_image", 256);
  const int side = static_cast<int>(std::lround(std::sqrt(tokens)));
  if (side * side != tokens || patches % side != 0) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected a square at 'mm_tokens_per_image' whose side divides the tower's "
         "{} patches but got {}",
         patches, tokens);
  }
  return side;
}

class Gemma3 : public VitModel {
 public:
  explicit Gemma3(const Checkpoint& checkpoint)
      : VitModel(checkpoint, gemma3_decoder_config(checkpoint),
                 vision::read_vit_config(checkpoint.config.optional_object("vision_config"),
                                         "siglip_vision_model")),
        side_(tokens_per_side(checkpoint.config, patches())),
        norm_(tower_.config().hidden_size, tower_.config().layer_norm_eps, kDecoder.norm_offset),
        projection_ED_(mx::zeros({tower_.config().hidden_size, decoder_.config().hidden_size})) {}

  mx::array encode_media(const MediaSpan& span) const override {
    const auto rows = tower_.encode(span.pixels);
    const int e = tower_.config().hidden_size;
    const int kernel = patches() / side_;
    const auto blocks = mx::reshape(rows, {-1, side_, kernel, side_, kernel, e});
    const auto pooled = mx::reshape(mx::mean(blocks, std::vector<int>{2, 4}), {-1, e});
    return kernels::matmul(norm_(pooled), mx::transpose(projection_ED_), std::nullopt);
  }

  // The tokens of each square.
  std::vector<TokenRun> attention_spans(const Prompt& prompt) const override {
    std::vector<TokenRun> spans;
    for (const auto& span : prompt.media) {
      if (span.runs.empty()) spans.push_back({span.begin, span.count});
      spans.insert(spans.end(), span.runs.begin(), span.runs.end());
    }
    return spans;
  }

  MlxLayout mlx_layout() const override {
    return {.table = "language_model.model.embed_tokens", .second_head = "language_model.lm_head"};
  }

  void visit(nn::Visitor& visitor) override {
    VitModel::visit(visitor);
    visitor.parameter("multi_modal_projector.mm_input_projection_weight", projection_ED_);
    visitor.child("multi_modal_projector.mm_soft_emb_norm", norm_);
  }

 private:
  int patches() const { return tower_.config().image_size / tower_.config().patch_size; }

  int side_;
  nn::RmsNorm norm_;
  mx::array projection_ED_;
};

}  // namespace

text::DecoderConfig gemma3_decoder_config(const Checkpoint& checkpoint) {
  return text::read_decoder_config(checkpoint.config, checkpoint.config["text_config"], kDecoder);
}

std::unique_ptr<Model> make_gemma3(const Checkpoint& checkpoint) {
  return std::make_unique<Gemma3>(checkpoint);
}

}  // namespace fovea::models
