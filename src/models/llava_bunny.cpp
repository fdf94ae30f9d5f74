// nanoLLaVA and Bunny: LLaVA on SigLIP, every row of whose last block is taken, a two-layer GELU
// projector, a decoder whose settings stand at the root of config.json. Sources: arXiv:2402.11530,
// modeling_llava_qwen2 of the checkpoints, mlx_vlm/models/llava_bunny.
#include "base/error.h"
#include "mlx/ops.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/vision/vit.h"

namespace fovea::models {
namespace {

constexpr const char* kPooling = "vision_tower.vision_tower.vision_model.head.";

// Names of released checkpoints and of MLX's conversions.
std::string module_path(const std::string& name) {
  const std::string path =
      replace_prefix(name, {{"model.vision_tower.", "vision_tower."},
                            {"model.mm_projector.0.", "mm_projector.linear_1."},
                            {"model.mm_projector.2.", "mm_projector.linear_2."},
                            {"model.", "language_model.model."},
                            {"language_model.model.lm_head.", "language_model.lm_head."},
                            {"lm_head.", "language_model.lm_head."}});
  // The pooling head stands behind the features.
  return path.starts_with(kPooling) ? "" : path;
}

// The pooling head, whose attention PyTorch and MLX spell in two ways.
std::string mlx_pooling_path(const std::string& name) {
  std::string path = replace_prefix(name, {{"model.vision_tower.", "vision_tower."}});
  if (!path.starts_with(kPooling)) return "";
  constexpr std::string_view kPacked = "attention.in_proj_";
  const auto at = path.find(kPacked);
  if (at != std::string::npos) path[at + kPacked.size() - 1] = '.';
  return path;
}

text::DecoderConfig decoder_config(const Checkpoint& checkpoint, const char* type) {
  return text::read_decoder_config(checkpoint.config, text::decoder_type(type, "model_type"));
}

class LlavaBunny : public DecoderModel {
 public:
  LlavaBunny(const Checkpoint& checkpoint, const text::DecoderConfig& config)
      : DecoderModel(checkpoint, config),
        tower_(vision::read_vit_config(checkpoint.config.optional_object("vision_config"),
                                       vision::siglip_so400m_384())),
        projector_(tower_.config().hidden_size, config.hidden_size, config.hidden_size,
                   kernels::Gelu::kExact, nn::Linear::Bias::kPresent, "linear_1", "linear_2") {
    const std::string type = checkpoint.config.get_string("mm_projector_type", "mlp2x_gelu");
    if (type != "mlp2x_gelu") {
      fail(ErrorKind::kUnsupported,
           "[config.json] expected mlp2x_gelu at 'mm_projector_type' but got '{}'", type);
    }
  }

  mx::array encode_media(const MediaSpan& span) const override {
    return projector_(tower_.forward(span.pixels, {tower_.config().num_hidden_layers})[0]);
  }

  // The head stands within the body there, and the tower's pooling head must be in the file.
  MlxLayout mlx_layout() const override {
    const std::string head = "language_model.model.lm_head";
    return {.names = {{"language_model.lm_head", head}},
            .unread = mlx_pooling_path,
            .table = "language_model.model.embed_tokens",
            .second_head = head};
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_tower.vision_tower.vision_model", tower_);
    visitor.child("mm_projector", projector_);
    visitor.child("language_model", decoder_);
  }

 protected:
  WeightNames weight_names() const override {
    return {module_path, "language_model.",
            "vision_tower.vision_tower.vision_model.embeddings.patch_embedding",
            tower_.config().num_channels};
  }

 private:
  vision::Vit tower_;
  nn::GeluMlp projector_;
};

}  // namespace

text::DecoderConfig bunny_llama_decoder_config(const Checkpoint& checkpoint) {
  return decoder_config(checkpoint, "llama");
}

text::DecoderConfig llava_qwen2_decoder_config(const Checkpoint& checkpoint) {
  return decoder_config(checkpoint, "qwen2");
}

std::unique_ptr<Model> make_bunny_llama(const Checkpoint& checkpoint) {
  return std::make_unique<LlavaBunny>(checkpoint, bunny_llama_decoder_config(checkpoint));
}

std::unique_ptr<Model> make_llava_qwen2(const Checkpoint& checkpoint) {
  return std::make_unique<LlavaBunny>(checkpoint, llava_qwen2_decoder_config(checkpoint));
}

}  // namespace fovea::models
