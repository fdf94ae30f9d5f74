// The decoder of llama, qwen2, qwen3, mistral and ministral3, and of the families built on them:
// RMS norms before attention and a SwiGLU MLP; gemma's differs in what its config says. Sources:
// Hugging Face modeling_llama, modeling_qwen2, modeling_qwen3, modeling_mistral, modeling_gemma3.
// Engine thread only, but for reading configs.
//
// Legend: T rows of a step, D hidden size, V vocabulary, A position axes, S media states.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "models/model.h"
#include "models/text/cross_layer.h"
#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/moe.h"
#include "nn/norm.h"

namespace fovea::models::text {

// Which layers see a window of keys only.
enum class Sliding {
  kNone,
  kEveryLayer,  // where `sliding_window` is not null: mistral
  kWhenTold,    // with `use_sliding_window`, those of `layer_types` or from `max_window_layers` on
  kPattern,     // those of `layer_types`, or all but each `sliding_window_pattern`-th: gemma
};

// What a decoder's model_type says of it, and what holds where its config.json is silent: the
// defaults of Hugging Face's configuration classes (transformers 5.23). Keys keep their spelling.
struct DecoderType {
  const char* model_type;
  bool qkv_bias;
  Sliding sliding;
  int vocab_size;
  int hidden_size;
  int intermediate_size;
  int num_hidden_layers;
  int num_attention_heads;
  int num_key_value_heads;  // 0: as many as num_attention_heads
  int max_position_embeddings;
  float rms_norm_eps;
  double rope_theta;
  int sliding_window;  // 0: none where the config names none
  int max_window_layers;
  int head_dim = 0;  // 0: hidden_size / num_attention_heads
  bool qk_norm = false;
  bool mrope_interleaved = false;
  nn::MoeConfig experts = {};
  int sliding_window_pattern = 0;
  double rope_local_base_freq = 0;  // rope_theta of layers with a window; 0: as the others
  const char* gelu = nullptr;       // of the MLP's gate; null: silu. As named at
  const char* gelu_key = "hidden_activation";
  float norm_offset = 0;              // see nn::RmsNorm
  bool sandwich_norms = false;        // what attention and MLP give is normalised as well
  bool scaled_embeddings = false;     // by the root of hidden_size
  int query_pre_attn_scalar = 0;      // scores are divided by its root; 0: head_dim
  float attn_logit_softcapping = 0;   // see nn::AttentionSpec
  float final_logit_softcapping = 0;  // the same for logits
  bool fused_projections = false;     // qkv_proj and gate_up_proj: phi3
};

// The row of llama, mistral, ministral3, qwen2 or qwen3. Any other is Error(kUnsupported) that
// names `where`.
const DecoderType& decoder_type(const std::string& model_type, const std::string& where);

// Keys keep their spelling in config.json.
struct DecoderConfig {
  nn::RotaryEmbedding rope;
  int hidden_size = 0;
  int num_hidden_layers = 0;
  int intermediate_size = 0;
  int vocab_size = 0;
  int max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  std::optional<bool> tie_word_embeddings;  // where config.json says
  bool mlp_bias = false;
  bool fused_mlp = false;
  nn::AttentionConfig attention;     // without sliding_window:
  std::vector<int> sliding_windows;  // of each layer, 0 for none
  std::string body = "model";        // where checkpoints have all but the head; may be empty
  nn::MoeConfig moe;                 // of the layers that
  std::vector<bool> sparse;          // have experts; empty: none
  std::optional<nn::RotaryEmbedding> local_rope;  // of layers with a window
  std::optional<kernels::Gelu> gelu;              // of the MLP's gate, for silu
  float norm_offset = 0;
  bool sandwich_norms = false;
  bool scaled_embeddings = false;
  float final_logit_softcapping = 0;
  int deepstack_layers = 0;  // the first layers, to which rows bring features of their own
  std::vector<bool> across;  // layers that look at media states (cross_layer.h); empty: none
  int extra_tokens = 0;      // rows of the table behind the vocabulary, which the head has not

  int cross_layers() const;
};

// `config` is the text part of the whole config.json, which says with it whether embeddings are
// tied. With num_experts, layers are sparse but for `mlp_only_layers` and what
// `decoder_sparse_step` passes over; DecoderType::experts has the defaults.
DecoderConfig read_decoder_config(const Json& whole, const Json& config, const DecoderType& type);

// Where the settings stand at the root.
inline DecoderConfig read_decoder_config(const Json& whole, const DecoderType& type) {
  return read_decoder_config(whole, whole, type);
}

class DecoderLayer : public nn::Module {
 public:
  DecoderLayer(const DecoderConfig& config, int layer);
  mx::array operator()(const mx::array& x_TD, const nn::RopeTables& rope, int layer,
                       nn::KvCache& cache, std::span<const nn::Segment> segments) const;
  void visit(nn::Visitor& visitor) override;
  nn::KvLayer kv_layer() const { return self_attn_.kv_layer(); }

 private:
  nn::RmsNorm input_layernorm_;
  nn::Attention self_attn_;
  nn::RmsNorm post_attention_layernorm_;  // of its result where sandwiched, else of the MLP's input
  std::optional<nn::RmsNorm> pre_feedforward_layernorm_;
  std::optional<nn::RmsNorm> post_feedforward_layernorm_;
  std::variant<nn::SwigluMlp, nn::SparseMoe> mlp_;
};

// Parameters: embed_tokens, layers.N and norm of `body`, and lm_head unless the embeddings are the
// head.
class Decoder : public nn::Module {
 public:
  explicit Decoder(const DecoderConfig& config);

  const DecoderConfig& config() const { return config_; }
  mx::array embed_tokens(std::span<const int32_t> tokens) const;
  // Rows of the batch's inputs are D wide, or (1 + deepstack_layers) * D: what is beyond the first
  // D is added behind the layers, in order.
  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const;

  // Before loading: a head of the checkpoint's own is kept whatever the config says, as in Hugging
  // Face; without one the embeddings are the head, unless the config says that they are not.
  void settle_head(bool checkpoint_has_one);
  void visit(nn::Visitor& visitor) override;
  void visit_layers(nn::Visitor& visitor);
  // Gives the cache what the layers that look across make of a new sequence's media states.
  void keep_states(const mx::array& states_SD, int sequence, nn::KvCache& cache) const;
  // After loading: of the layers that attend to the rows before.
  std::vector<nn::KvLayer> kv_layers() const;
  // After loading (models/input_groups.h), paths from the decoder on.
  std::vector<InputGroup> input_groups() const;

 private:
  using Layer = std::variant<DecoderLayer, CrossLayer>;

  // What checkpoints call `model`.
  struct Body : nn::Module {
    explicit Body(const DecoderConfig& config);
    void visit(nn::Visitor& visitor) override;

    nn::Embedding embed_tokens;
    std::vector<Layer> layers;
    nn::RmsNorm norm;
  };

  DecoderConfig config_;
  Body model_;
  std::optional<nn::Linear> lm_head_;
};

}  // namespace fovea::models::text
