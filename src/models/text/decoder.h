// The decoder of llama, qwen2 and mistral, and of the families built on them: RMS norms before
// attention and a SwiGLU MLP. Sources: Hugging Face modeling_llama, modeling_qwen2,
// modeling_mistral. Engine thread only.
//
// Legend: T rows of a step, D hidden size, V vocabulary, A position axes.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "models/model.h"
#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace fovea::models::text {

// Keys keep their spelling in config.json.
struct DecoderConfig {
  int hidden_size = 0;
  int num_hidden_layers = 0;
  int intermediate_size = 0;
  int vocab_size = 0;
  int max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  bool mlp_bias = false;
  nn::AttentionConfig attention;
};

// `config` is the text part; `model_type` llama, qwen2, mistral or a family's own type that follows
// one of them. `tie_default` holds when the config does not say.
DecoderConfig read_decoder_config(const Json& config, const std::string& model_type,
                                  bool tie_default);

class DecoderLayer : public nn::Module {
 public:
  explicit DecoderLayer(const DecoderConfig& config);
  mx::array operator()(const mx::array& x_TD, const nn::RopeTables& rope, int layer,
                       nn::KvCache& cache, std::span<const nn::Segment> segments) const;
  void visit(nn::Visitor& visitor) override;

 private:
  nn::RmsNorm input_layernorm_;
  nn::Attention self_attn_;
  nn::RmsNorm post_attention_layernorm_;
  nn::SwigluMlp mlp_;
};

// Parameters: model.embed_tokens, model.layers.N, model.norm, and lm_head unless tied.
class Decoder : public nn::Module {
 public:
  // `config` is the JSON that DecoderConfig was read from; rotary settings are read from it.
  Decoder(const DecoderConfig& decoder, const Json& config);

  const DecoderConfig& config() const { return config_; }
  int position_axes() const { return rope_.axes(); }
  mx::array embed_tokens(std::span<const int32_t> tokens) const;
  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const;
  void visit(nn::Visitor& visitor) override;

 private:
  class Body;  // what checkpoints call `model`
  DecoderConfig config_;
  nn::RotaryEmbedding rope_;
  std::shared_ptr<Body> model_;
  std::optional<nn::Linear> lm_head_;
};

}  // namespace fovea::models::text
