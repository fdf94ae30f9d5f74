// PaliGemma 1 and 2: a SigLIP tower, a linear layer, a gemma or gemma2 decoder in which all tokens
// of the prompt see each other. Sources: arXiv:2407.07726, arXiv:2412.03555, Hugging Face
// modeling_paligemma, modeling_gemma, modeling_gemma2.
//
// Legend: P patches of a picture, E tower width, D hidden size.
#include "models/families.h"
#include "models/vit_model.h"

namespace fovea::models {
namespace {

// What Hugging Face's GemmaConfig and Gemma2Config say where config.json is silent
// (text/decoder.h).
constexpr text::DecoderType kGemma = {
    .model_type = "gemma",
    .qkv_bias = false,
    .sliding = text::Sliding::kNone,
    .vocab_size = 256000,
    .hidden_size = 3072,
    .intermediate_size = 24576,
    .num_hidden_layers = 28,
    .num_attention_heads = 16,
    .num_key_value_heads = 16,
    .max_position_embeddings = 8192,
    .rms_norm_eps = 1e-6f,
    .rope_theta = 1e4,
    .sliding_window = 0,
    .max_window_layers = 0,
    .head_dim = 256,
    .gelu = "gelu_pytorch_tanh",
    .gelu_key = "hidden_act",
    .norm_offset = 1,
    .scaled_embeddings = true,
};

constexpr text::DecoderType kGemma2 = {
    .model_type = "gemma2",
    .qkv_bias = false,
    .sliding = text::Sliding::kPattern,
    .vocab_size = 256000,
    .hidden_size = 2304,
    .intermediate_size = 9216,
    .num_hidden_layers = 26,
    .num_attention_heads = 8,
    .num_key_value_heads = 4,
    .max_position_embeddings = 8192,
    .rms_norm_eps = 1e-6f,
    .rope_theta = 1e4,
    .sliding_window = 4096,
    .max_window_layers = 0,
    .head_dim = 256,
    .sliding_window_pattern = 2,
    .gelu = "gelu_pytorch_tanh",
    .norm_offset = 1,
    .sandwich_norms = true,
    .scaled_embeddings = true,
    .query_pre_attn_scalar = 256,
    .attn_logit_softcapping = 50,
    .final_logit_softcapping = 30,
};

const text::DecoderType& decoder_of(const Json& text) {
  const std::string type = text.get_string("model_type", "gemma");
  if (type == "gemma") return kGemma;
  if (type == "gemma2") return kGemma2;
  fail(ErrorKind::kUnsupported,
       "[config.json] expected text_config.model_type gemma or gemma2 but got '{}'", type);
}

class PaliGemma : public VitModel {
 public:
  explicit PaliGemma(const Checkpoint& checkpoint)
      : VitModel(checkpoint, paligemma_decoder_config(checkpoint),
                 vision::read_vit_config(checkpoint.config.optional_object("vision_config"),
                                         "siglip_vision_model")),
        projector_(tower_.config().hidden_size, decoder_.config().hidden_size,
                   nn::Linear::Bias::kPresent) {}

  mx::array encode_media(const MediaSpan& span) const override {
    return projector_(tower_.encode(span.pixels));
  }

  std::vector<TokenRun> attention_spans(const Prompt& prompt) const override {
    return {{0, static_cast<int>(prompt.tokens.size())}};
  }

  void visit(nn::Visitor& visitor) override {
    VitModel::visit(visitor);
    visitor.child("multi_modal_projector.linear", projector_);
  }

 private:
  nn::Linear projector_;
};

}  // namespace

text::DecoderConfig paligemma_decoder_config(const Checkpoint& checkpoint) {
  const Json text = checkpoint.config["text_config"];
  return text::read_decoder_config(checkpoint.config, text, decoder_of(text));
}

std::unique_ptr<Model> make_paligemma(const Checkpoint& checkpoint) {
  return std::make_unique<PaliGemma>(checkpoint);
}

}  // namespace fovea::models
