#include "models/text/decoder.h"

#include <numeric>

#include "base/error.h"
#include "kernels/numerics.h"
#include "mlx/ops.h"
#include "models/config.h"

namespace fovea::models::text {

DecoderConfig read_decoder_config(const Json& config, const std::string& model_type,
                                  bool tie_default) {
  using Bias = nn::Linear::Bias;
  DecoderConfig c;
  c.hidden_size = required_size(config, "hidden_size");
  c.num_hidden_layers = required_size(config, "num_hidden_layers");
  c.intermediate_size = required_size(config, "intermediate_size");
  c.vocab_size = required_size(config, "vocab_size");
  c.max_position_embeddings = context_length(config);
  c.rms_norm_eps = static_cast<float>(config.get_double("rms_norm_eps", 1e-6));
  c.tie_word_embeddings = config.get_bool("tie_word_embeddings", tie_default);
  c.mlp_bias = config.get_bool("mlp_bias", false);
  auto& a = c.attention;
  a.hidden_size = c.hidden_size;
  a.num_attention_heads = required_size(config, "num_attention_heads");
  a.num_key_value_heads = config.get_int("num_key_value_heads", a.num_attention_heads);
  if (config.contains("num_key_value_heads")) {
    require_multiple(config, "num_attention_heads", "num_key_value_heads");
  }
  if (config["head_dim"].is_null()) require_multiple(config, "hidden_size", "num_attention_heads");
  a.head_dim = config.get_int("head_dim", c.hidden_size / a.num_attention_heads);
  const bool llama_bias = config.get_bool("attention_bias", false);
  a.qkv_bias = model_type == "qwen2" || llama_bias ? Bias::kPresent : Bias::kNone;
  a.o_bias = llama_bias && model_type != "qwen2" ? Bias::kPresent : Bias::kNone;
  // Mistral slides whenever a window is given, qwen2 only when told to.
  const bool slides = model_type == "mistral" || config.get_bool("use_sliding_window", false);
  if (slides) a.sliding_window = config.get_int("sliding_window", 0);
  return c;
}

DecoderLayer::DecoderLayer(const DecoderConfig& c)
    : input_layernorm_(c.hidden_size, c.rms_norm_eps),
      self_attn_(c.attention),
      post_attention_layernorm_(c.hidden_size, c.rms_norm_eps),
      mlp_(c.hidden_size, c.intermediate_size,
           c.mlp_bias ? nn::Linear::Bias::kPresent : nn::Linear::Bias::kNone) {}

mx::array DecoderLayer::operator()(const mx::array& x_TD, const nn::RopeTables& rope, int layer,
                                   nn::KvCache& cache,
                                   std::span<const nn::Segment> segments) const {
  const auto h_TD = mx::add(x_TD, self_attn_(input_layernorm_(x_TD), rope, layer, cache, segments));
  return mx::add(h_TD, mlp_(post_attention_layernorm_(h_TD)));
}

void DecoderLayer::visit(nn::Visitor& visitor) {
  visitor.child("input_layernorm", input_layernorm_);
  visitor.child("self_attn", self_attn_);
  visitor.child("post_attention_layernorm", post_attention_layernorm_);
  visitor.child("mlp", mlp_);
}

class Decoder::Body : public nn::Module {
 public:
  explicit Body(const DecoderConfig& c)
      : embed_tokens(c.vocab_size, c.hidden_size), norm(c.hidden_size, c.rms_norm_eps) {
    for (int i = 0; i < c.num_hidden_layers; ++i) layers.emplace_back(c);
  }
  void visit(nn::Visitor& visitor) override {
    visitor.child("embed_tokens", embed_tokens);
    for (size_t i = 0; i < layers.size(); ++i) {
      visitor.child(fmt::format("layers.{}", i), layers[i]);
    }
    visitor.child("norm", norm);
  }

  nn::Embedding embed_tokens;
  std::vector<DecoderLayer> layers;
  nn::RmsNorm norm;
};

Decoder::Decoder(const DecoderConfig& decoder, const Json& config)
    : config_(decoder),
      rope_(config, decoder.attention.head_dim),
      model_(std::make_shared<Body>(decoder)) {
  if (!decoder.tie_word_embeddings) {
    lm_head_.emplace(decoder.hidden_size, decoder.vocab_size, nn::Linear::Bias::kNone);
  }
}

mx::array Decoder::embed_tokens(std::span<const int32_t> tokens) const {
  return model_->embed_tokens(tokens);
}

namespace {

int first_decode_row(std::span<const nn::Segment> segments, int rows) {
  for (const auto& segment : segments) {
    if (segment.decode) return segment.begin;
  }
  return rows;
}

}  // namespace

mx::array Decoder::forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const {
  mx::array x_TD = batch.inputs_embeds_TD;
  const auto rope = rope_.tables(batch.position_ids_AT);
  const kernels::DecodeRows rows_of_answers(first_decode_row(batch.segments, x_TD.shape(0)));
  for (size_t i = 0; i < model_->layers.size(); ++i) {
    x_TD = model_->layers[i](x_TD, rope, static_cast<int>(i), cache, batch.segments);
    if (sink) sink(fmt::format("hidden.{}", i), x_TD);
  }
  if (batch.logits_rows.empty()) return mx::zeros({0, config_.vocab_size});
  const mx::array rows(batch.logits_rows.data(), {static_cast<int>(batch.logits_rows.size())},
                       mx::int32);
  const auto last = model_->norm(mx::take(x_TD, rows, 0));
  // One row of a prompt would have the whole vocabulary expanded for it.
  const kernels::DecodeRows all(0);
  return lm_head_ ? (*lm_head_)(last) : model_->embed_tokens.logits(last);
}

void Decoder::visit(nn::Visitor& visitor) {
  visitor.child("model", *model_);
  if (lm_head_) visitor.child("lm_head", *lm_head_);
}

}  // namespace fovea::models::text
