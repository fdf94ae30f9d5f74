// Whisper: a speech recogniser. A window of sound is the prompt's medium, which takes no token: all
// rows look at the encoder's states of it. Sources: Whisper's paper (2212.04356), Hugging Face
// modeling_whisper, and mlx-audio for the names of MLX's conversions.
#include "mlx/ops.h"
#include "models/audio/whisper_decoder.h"
#include "models/audio/whisper_encoder.h"
#include "models/config.h"
#include "models/families.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

std::string replaced(std::string name, const std::string& from, const std::string& to) {
  const size_t at = name.find(from);
  if (at != std::string::npos) name.replace(at, from.size(), to);
  return name;
}

// The head is the table of embeddings, whatever a checkpoint calls it; alignment_heads are which
// heads follow the words, and no weights.
std::string module_path(const std::string& name) {
  std::string path = replace_prefix(name, {{"model.", ""}});
  if (path.starts_with("proj_out.") || path == "alignment_heads") return "";
  // MLX's.
  path = replace_prefix(path, {{"encoder.ln_post.", "encoder.layer_norm."},
                               {"encoder.positional_embedding", "encoder.embed_positions.weight"},
                               {"encoder._positional_embedding", "encoder.embed_positions.weight"},
                               {"encoder.blocks.", "encoder.layers."},
                               {"decoder.ln.", "decoder.layer_norm."},
                               {"decoder.positional_embedding", "decoder.embed_positions.weight"},
                               {"decoder.token_embedding.", "decoder.embed_tokens."},
                               {"decoder.blocks.", "decoder.layers."}});
  const bool encoder = path.starts_with("encoder.layers.");
  if (!encoder && !path.starts_with("decoder.layers.")) return path;
  path = replaced(path, ".cross_attn_ln.", ".encoder_attn_layer_norm.");
  path = replaced(path, ".attn_ln.", ".self_attn_layer_norm.");
  path = replaced(path, ".mlp_ln.", ".final_layer_norm.");
  path = replaced(path, ".cross_attn.", ".encoder_attn.");
  path = replaced(path, ".attn.", ".self_attn.");
  for (const auto& [from, to] : {std::pair(".query.", ".q_proj."),
                                 {".key.", ".k_proj."},
                                 {".value.", ".v_proj."},
                                 {".out.", ".out_proj."},
                                 {".mlp1.", ".mlp.fc1."},
                                 {".mlp2.", ".mlp.fc2."},
                                 {".fc1.", ".mlp.fc1."},
                                 {".fc2.", ".mlp.fc2."}}) {
    if (path.find(std::string(".mlp") + from) == std::string::npos) path = replaced(path, from, to);
  }
  // Those of the blocks that all towers, and all layers that look across, are made of.
  if (!encoder) return replaced(path, ".out_proj.", ".o_proj.");
  path = replaced(path, ".self_attn_layer_norm.", ".layer_norm1.");
  return replaced(path, ".final_layer_norm.", ".layer_norm2.");
}

class Whisper : public Model {
 public:
  explicit Whisper(const Checkpoint& checkpoint)
      : config_(audio::read_whisper_config(checkpoint.config)),
        encoder_(config_),
        decoder_(config_) {
    info_.model_type = checkpoint.model_type();
    info_.vocab_size = config_.vocab_size;
    info_.context_length = config_.max_target_positions;
    info_.num_layers = config_.decoder_layers;
    info_.hidden_size = config_.d_model;
    info_.eos_token_ids = eos_token_ids(checkpoint);
  }

  const ModelInfo& info() const override { return info_; }

  std::vector<nn::KvLayer> kv_layers() const override { return decoder_.kv_layers(); }

  mx::array encode_media(const MediaSpan& span) const override {
    return encoder_.encode(span.pixels);
  }

  int media_states(const MediaSpan&) const override { return config_.max_source_positions; }

  void keep_states(const Prompt& prompt, const std::vector<mx::array>& features, int sequence,
                   nn::KvCache& cache) const override {
    if (prompt.media.empty()) return;
    cache.set_views(sequence, {{0, {0, features.at(0).shape(0)}, false}});
    decoder_.keep_states(features[0], sequence, cache);
  }

  mx::array embed_tokens(std::span<const int32_t> tokens) const override {
    return decoder_.embed_tokens(tokens);
  }

  Positions position_ids(const Prompt& prompt) const override {
    return consecutive_positions(static_cast<int>(prompt.tokens.size()), 1);
  }

  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const override {
    return decoder_.forward(batch, cache, sink);
  }

  void prepare_weights(nn::Weights& weights) override {
    weights.rename(module_path);
    weights.flatten_convolution("encoder.conv1.weight", config_.num_mel_bins);
    weights.flatten_convolution("encoder.conv2.weight", config_.d_model);
    encoder_.settle_positions(weights.contains("encoder.embed_positions.weight"));
  }

  void visit_layers(nn::Visitor& visitor) override { decoder_.visit_layers(visitor); }

  bool is_media_weight(const std::string& name) const override {
    return name.starts_with("encoder.");
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("encoder", encoder_);
    visitor.child("decoder", decoder_);
  }

 private:
  audio::WhisperConfig config_;
  audio::WhisperEncoder encoder_;
  audio::WhisperDecoder decoder_;
  ModelInfo info_;
};

}  // namespace

text::DecoderConfig whisper_decoder_config(const Checkpoint& checkpoint) {
  const auto whisper = audio::read_whisper_config(checkpoint.config);
  const int head_dim = whisper.d_model / whisper.decoder_attention_heads;
  text::DecoderConfig config{.rope = nn::RotaryEmbedding(Json(), head_dim)};  // which nobody asks
  config.hidden_size = whisper.d_model;
  config.num_hidden_layers = whisper.decoder_layers;
  config.vocab_size = whisper.vocab_size;
  config.max_position_embeddings = whisper.max_target_positions;
  config.attention.num_attention_heads = whisper.decoder_attention_heads;
  config.attention.num_key_value_heads = whisper.decoder_attention_heads;
  config.attention.head_dim = head_dim;
  return config;
}

std::unique_ptr<Model> make_whisper(const Checkpoint& checkpoint) {
  return std::make_unique<Whisper>(checkpoint);
}

}  // namespace fovea::models
