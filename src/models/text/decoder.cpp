#include "models/text/decoder.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "kernels/numerics.h"
#include "kernels/projection.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "nn/positive.h"

namespace fovea::models::text {
namespace {

using Bias = nn::Linear::Bias;

// clang-format off
constexpr DecoderType kDecoders[] = {
    // type, qkv_bias, sliding, vocab, hidden, intermediate, layers, heads, key/value heads,
    // positions, eps, theta, window, first window layer, head_dim, qk_norm
    {"llama", false, Sliding::kNone, 32000, 4096, 11008, 32, 32, 0, 2048, 1e-6f, 1e4, 0, 0},
    {"mistral", false, Sliding::kEveryLayer, 32000, 4096, 14336, 32, 32, 8, 131072, 1e-6f, 1e4,
     4096, 0},
    {"ministral3", false, Sliding::kEveryLayer, 131072, 4096, 14336, 34, 32, 8, 262144, 1e-5f, 1e6,
     0, 0, 128},
    {"qwen2", true, Sliding::kWhenTold, 151936, 4096, 22016, 32, 32, 32, 32768, 1e-6f, 1e4, 4096,
     28},
    {"qwen3", false, Sliding::kWhenTold, 151936, 4096, 22016, 32, 32, 32, 32768, 1e-6f, 1e4, 4096,
     28, 128, true},
};
// clang-format on

int key_value_heads(const Json& config, const DecoderType& type, int heads) {
  const bool is_null =
      config.contains("num_key_value_heads") && config["num_key_value_heads"].is_null();
  const int standard = is_null || type.num_key_value_heads == 0 ? heads : type.num_key_value_heads;
  const int count = optional_size(config, "num_key_value_heads", standard);
  require_multiple(config, "num_attention_heads", heads, "num_key_value_heads", count);
  return count;
}

nn::AttentionConfig read_attention_config(const Json& config, const DecoderType& type,
                                          int hidden_size) {
  nn::AttentionConfig a;
  a.hidden_size = hidden_size;
  a.num_attention_heads = optional_size(config, "num_attention_heads", type.num_attention_heads);
  a.num_key_value_heads = key_value_heads(config, type, a.num_attention_heads);
  if (config["head_dim"].is_null() && type.head_dim == 0) {
    require_multiple(config, "hidden_size", hidden_size, "num_attention_heads",
                     a.num_attention_heads);
  }
  const int standard = type.head_dim > 0 ? type.head_dim : hidden_size / a.num_attention_heads;
  a.head_dim = optional_size(config, "head_dim", standard);
  product_size(config, "attention heads", {a.num_attention_heads, a.head_dim});
  const bool all_biases = config.get_bool("attention_bias", false);
  a.qkv_bias = type.qkv_bias || all_biases ? Bias::kPresent : Bias::kNone;
  a.o_bias = all_biases && !type.qkv_bias ? Bias::kPresent : Bias::kNone;
  a.fused_qkv = type.fused_projections;
  return a;
}

bool layer_slides(const Json& layer_types, int layer, int layers) {
  if (static_cast<int>(layer_types.size()) != layers) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected one entry a layer at '{}' but got {} for {} layers", layer_types.where(),
         layer_types.path(), layer_types.size(), layers);
  }
  const Json type = layer_types.at(static_cast<size_t>(layer));
  const std::string name = type.as_string();
  if (name != "sliding_attention" && name != "full_attention") {
    fail(ErrorKind::kUnsupported,
         "[{}] expected full_attention or sliding_attention at '{}' but got '{}'", type.where(),
         type.path(), name);
  }
  return name == "sliding_attention";
}

// Windows of gemma's layers.
std::vector<int> read_window_pattern(const Json& config, const DecoderType& type, int layers) {
  std::vector<int> windows(static_cast<size_t>(layers), 0);
  const Json layer_types = config["layer_types"];
  const int window = optional_size(config, "sliding_window", type.sliding_window);
  const int pattern = optional_size(config, "sliding_window_pattern", type.sliding_window_pattern);
  for (int i = 0; i < layers; ++i) {
    const bool slides =
        layer_types.is_null() ? (i + 1) % pattern != 0 : layer_slides(layer_types, i, layers);
    if (slides) windows[static_cast<size_t>(i)] = window;
  }
  return windows;
}

std::vector<int> read_sliding_windows(const Json& config, const DecoderType& type, int layers) {
  if (type.sliding == Sliding::kPattern) return read_window_pattern(config, type, layers);
  std::vector<int> windows(static_cast<size_t>(layers), 0);
  const bool is_null = config.contains("sliding_window") ? config["sliding_window"].is_null()
                                                         : type.sliding_window == 0;
  const bool told =
      type.sliding == Sliding::kEveryLayer ||
      (type.sliding == Sliding::kWhenTold && config.get_bool("use_sliding_window", false));
  if (!told || is_null) return windows;
  const int window = optional_size(config, "sliding_window", type.sliding_window);
  const Json layer_types = config["layer_types"];
  const int first = type.sliding == Sliding::kEveryLayer
                        ? 0
                        : config.get_int("max_window_layers", type.max_window_layers);
  for (int i = 0; i < layers; ++i) {
    const bool by_type = type.sliding == Sliding::kWhenTold && !layer_types.is_null();
    const bool slides = by_type ? layer_slides(layer_types, i, layers) : i >= first;
    if (slides) windows[static_cast<size_t>(i)] = window;
  }
  return windows;
}

nn::MoeConfig read_moe_config(const Json& config, const nn::MoeConfig& standard) {
  nn::MoeConfig c = standard;
  // transformers 5 writes the one key where it reads either.
  const char* count = config["num_experts"].is_null() ? "num_local_experts" : "num_experts";
  c.num_experts = optional_size(config, count, c.num_experts, kExpertsMax);
  c.num_experts_per_tok =
      optional_size(config, "num_experts_per_tok", c.num_experts_per_tok, c.num_experts);
  c.moe_intermediate_size = optional_size(config, "moe_intermediate_size", c.moe_intermediate_size);
  c.norm_topk_prob = config.get_bool("norm_topk_prob", c.norm_topk_prob);
  return c;
}

// Which layers have experts.
std::vector<bool> read_sparse_layers(const Json& config, int layers) {
  const int step = optional_size(config, "decoder_sparse_step", 1);
  const Json plain = config["mlp_only_layers"];
  const auto dense = plain.is_null() ? std::vector<int>() : plain.as_int_list();
  std::vector<bool> sparse;
  for (int i = 0; i < layers; ++i) {
    const bool listed = std::find(dense.begin(), dense.end(), i) != dense.end();
    sparse.push_back(!listed && (i + 1) % step == 0);
  }
  return sparse;
}

void require_silu(const Json& config) {
  const std::string name = config.get_string("hidden_act", "silu");
  if (name == "silu" || name == "swish") return;
  fail(ErrorKind::kUnsupported, "[{}] expected silu at '{}' but got '{}'", config.where(),
       config["hidden_act"].path(), name);
}

// The GELU of a gemma's gate. The first gemma's configs say "gelu" and mean its tanh form.
std::optional<kernels::Gelu> read_gate(const Json& config, const DecoderType& type) {
  if (!type.gelu) {
    require_silu(config);
    return std::nullopt;
  }
  const auto gelu = nn::gelu_from_config(config, type.gelu_key, type.gelu);
  const bool first = std::string_view(type.gelu_key) == "hidden_act";
  return first && gelu == kernels::Gelu::kExact ? kernels::Gelu::kTanh : gelu;
}

// rope_parameters of transformers 5 may hold those of each kind of layer.
Json rope_of_kind(const Json& config, const char* kind) {
  const Json nested = config["rope_parameters"][kind];
  if (nested.is_null()) return config;
  JsonObject alone;
  return alone.set("rope_parameters", nested).freeze(config.where());
}

std::optional<nn::RotaryEmbedding> read_local_rope(const Json& config, const DecoderType& type,
                                                   int head_dim) {
  if (type.rope_local_base_freq == 0) return std::nullopt;
  const double theta =
      nn::positive_number(config, "rope_local_base_freq", type.rope_local_base_freq);
  const Json own = config["rope_parameters"]["sliding_attention"];
  const Json rope = own.is_null() ? JsonObject().freeze(config.where())
                                  : rope_of_kind(config, "sliding_attention");
  return nn::RotaryEmbedding(rope, head_dim, theta);
}

// A bound of tanh that the config may name or, by null, take away.
float read_softcap(const Json& config, const char* key, float standard) {
  const bool none = config.contains(key) ? config[key].is_null() : standard == 0;
  return none ? 0 : static_cast<float>(nn::positive_number(config, key, standard));
}

// What the norms, scores and embeddings of a type are like.
void read_norms_and_scales(const Json& config, const DecoderType& type, DecoderConfig& c) {
  c.attention.qk_norm = type.qk_norm;
  c.attention.norm_eps = c.rms_norm_eps;
  c.attention.norm_offset = c.norm_offset = type.norm_offset;
  c.sandwich_norms = type.sandwich_norms;
  c.scaled_embeddings = type.scaled_embeddings;
  if (type.query_pre_attn_scalar == 0) return;
  const double scalar =
      nn::positive_number(config, "query_pre_attn_scalar", type.query_pre_attn_scalar);
  c.attention.scale = static_cast<float>(1 / std::sqrt(scalar));
  c.attention.softcap = read_softcap(config, "attn_logit_softcapping", type.attn_logit_softcapping);
  c.final_logit_softcapping =
      read_softcap(config, "final_logit_softcapping", type.final_logit_softcapping);
}

nn::AttentionConfig attention_of(const DecoderConfig& c, int layer) {
  auto attention = c.attention;
  attention.sliding_window = c.sliding_windows[static_cast<size_t>(layer)];
  return attention;
}

}  // namespace

const DecoderType& decoder_type(const std::string& model_type, const std::string& where) {
  std::vector<std::string> names;
  for (const auto& row : kDecoders) {
    if (model_type == row.model_type) return row;
    names.emplace_back(row.model_type);
  }
  fail(ErrorKind::kUnsupported, "[config.json] expected {} among {} but got '{}'", where,
       fmt::join(names, ", "), model_type);
}

int DecoderConfig::cross_layers() const {
  return static_cast<int>(std::count(across.begin(), across.end(), true));
}

DecoderConfig read_decoder_config(const Json& whole, const Json& config, const DecoderType& type) {
  const auto gelu = read_gate(config, type);
  const int hidden_size = optional_size(config, "hidden_size", type.hidden_size);
  const auto attention = read_attention_config(config, type, hidden_size);
  DecoderConfig c{.rope = nn::RotaryEmbedding(rope_of_kind(config, "full_attention"),
                                              attention.head_dim, type.rope_theta,
                                              type.mrope_interleaved)};
  c.tie_word_embeddings = tie_word_embeddings(whole);
  c.gelu = gelu;
  c.local_rope = read_local_rope(config, type, attention.head_dim);
  c.hidden_size = hidden_size;
  c.attention = attention;
  c.num_hidden_layers =
      optional_size(config, "num_hidden_layers", type.num_hidden_layers, kLayersMax);
  c.intermediate_size = optional_size(config, "intermediate_size", type.intermediate_size);
  c.vocab_size = optional_size(config, "vocab_size", type.vocab_size);
  c.max_position_embeddings =
      optional_size(config, "max_position_embeddings", type.max_position_embeddings);
  c.rms_norm_eps =
      static_cast<float>(nn::positive_number(config, "rms_norm_eps", type.rms_norm_eps));
  read_norms_and_scales(config, type, c);
  c.mlp_bias = config.get_bool("mlp_bias", false);
  c.fused_mlp = type.fused_projections;
  if (type.experts.num_experts > 0) {
    c.moe = read_moe_config(config, type.experts);
    c.sparse = read_sparse_layers(config, c.num_hidden_layers);
  }
  c.sliding_windows = read_sliding_windows(config, type, c.num_hidden_layers);
  return c;
}

namespace {

using Mlp = std::variant<nn::SwigluMlp, nn::SparseMoe>;

Mlp mlp_of(const DecoderConfig& c, int layer) {
  if (!c.sparse.empty() && c.sparse[static_cast<size_t>(layer)]) {
    return nn::SparseMoe(c.hidden_size, c.moe);
  }
  return nn::SwigluMlp(c.hidden_size, c.intermediate_size,
                       c.mlp_bias ? Bias::kPresent : Bias::kNone, c.fused_mlp, c.gelu);
}

}  // namespace

DecoderLayer::DecoderLayer(const DecoderConfig& c, int layer)
    : input_layernorm_(c.hidden_size, c.rms_norm_eps, c.norm_offset),
      self_attn_(attention_of(c, layer)),
      post_attention_layernorm_(c.hidden_size, c.rms_norm_eps, c.norm_offset),
      mlp_(mlp_of(c, layer)) {
  if (!c.sandwich_norms) return;
  pre_feedforward_layernorm_.emplace(c.hidden_size, c.rms_norm_eps, c.norm_offset);
  post_feedforward_layernorm_.emplace(c.hidden_size, c.rms_norm_eps, c.norm_offset);
}

mx::array DecoderLayer::operator()(const mx::array& x_TD, const nn::RopeTables& rope, int layer,
                                   nn::KvCache& cache,
                                   std::span<const nn::Segment> segments) const {
  if (!pre_feedforward_layernorm_) {
    const auto h_TD = self_attn_(x_TD, input_layernorm_, rope, layer, cache, segments, x_TD);
    return std::visit([&](const auto& mlp) { return mlp(h_TD, post_attention_layernorm_, h_TD); },
                      mlp_);
  }
  const auto mixed = self_attn_(x_TD, input_layernorm_, rope, layer, cache, segments);
  const auto h_TD = mx::add(x_TD, post_attention_layernorm_(mixed));
  const auto out = std::visit(
      [&](const auto& mlp) { return mlp(h_TD, *pre_feedforward_layernorm_, std::nullopt); }, mlp_);
  return mx::add(h_TD, (*post_feedforward_layernorm_)(out));
}

void DecoderLayer::visit(nn::Visitor& visitor) {
  visitor.child("input_layernorm", input_layernorm_);
  visitor.child("self_attn", self_attn_);
  visitor.child("post_attention_layernorm", post_attention_layernorm_);
  if (pre_feedforward_layernorm_) {
    visitor.child("pre_feedforward_layernorm", *pre_feedforward_layernorm_);
    visitor.child("post_feedforward_layernorm", *post_feedforward_layernorm_);
  }
  std::visit([&](auto& mlp) { visitor.child("mlp", mlp); }, mlp_);
}

Decoder::Body::Body(const DecoderConfig& c)
    : embed_tokens(c.vocab_size + c.extra_tokens, c.hidden_size),
      norm(c.hidden_size, c.rms_norm_eps, c.norm_offset) {
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    if (!c.across.empty() && c.across[static_cast<size_t>(i)]) {
      layers.emplace_back(std::in_place_type<CrossLayer>, c.attention, c.intermediate_size,
                          c.mlp_bias ? Bias::kPresent : Bias::kNone, c.rms_norm_eps);
    } else {
      layers.emplace_back(std::in_place_type<DecoderLayer>, c, i);
    }
  }
}

void Decoder::Body::visit(nn::Visitor& visitor) {
  visitor.child("embed_tokens", embed_tokens);
  for (size_t i = 0; i < layers.size(); ++i) {
    std::visit([&](auto& layer) { visitor.child(fmt::format("layers.{}", i), layer); }, layers[i]);
  }
  visitor.child("norm", norm);
}

Decoder::Decoder(const DecoderConfig& config) : config_(config), model_(config) {
  if (!config.tie_word_embeddings.value_or(false)) {
    lm_head_.emplace(config.hidden_size, config.vocab_size, Bias::kNone);
  }
}

void Decoder::settle_head(bool checkpoint_has_one) {
  if (checkpoint_has_one && !lm_head_) {
    lm_head_.emplace(config_.hidden_size, config_.vocab_size, Bias::kNone);
  }
  if (!checkpoint_has_one && config_.tie_word_embeddings.value_or(true)) lm_head_.reset();
}

// The factor is a number of the table's type.
mx::array Decoder::embed_tokens(std::span<const int32_t> tokens) const {
  const auto rows = model_.embed_tokens(tokens);
  if (!config_.scaled_embeddings) return rows;
  const mx::array root(std::sqrt(static_cast<float>(config_.hidden_size)));
  const auto factor = mx::astype(root, model_.embed_tokens.dtype());
  return mx::multiply(rows, mx::astype(factor, mx::float32));
}

namespace {

int first_answer_row(std::span<const nn::Segment> segments, int rows) {
  for (const auto& segment : segments) {
    if (segment.decode) return segment.begin;
  }
  return rows;
}

// As a rule all of them are wanted.
mx::array rows_of(const mx::array& x_TD, std::span<const int> wanted) {
  const int count = static_cast<int>(wanted.size());
  if (count == x_TD.shape(0)) return x_TD;
  return mx::take(x_TD, mx::array(wanted.data(), {count}, mx::int32), 0);
}

}  // namespace

mx::array Decoder::forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const {
  const auto& inputs = batch.inputs_embeds_TD;
  const int t = inputs.shape(0);
  const int d = config_.hidden_size;
  const auto part = [&](int i) { return mx::slice(inputs, {0, i * d}, {t, (i + 1) * d}); };
  const int parts = inputs.shape(1) / d;  // 1 but for deepstack
  mx::array x_TD = parts == 1 ? inputs : part(0);
  const auto rope = config_.rope.tables(batch.position_ids_AT);
  const auto local_rope =
      config_.local_rope ? config_.local_rope->tables(batch.position_ids_AT) : rope;
  const kernels::DecodeRows rows_of_answers(first_answer_row(batch.segments, t));
  const auto looking =
      config_.across.empty() ? std::vector<nn::LookingRows>() : cache.looking_rows(batch.segments);
  int within = 0;  // layers of each kind so far
  int across = 0;
  for (size_t i = 0; i < model_.layers.size(); ++i) {
    if (const auto* layer = std::get_if<DecoderLayer>(&model_.layers[i])) {
      const auto& tables = config_.sliding_windows[i] > 0 ? local_rope : rope;
      x_TD = (*layer)(x_TD, tables, within++, cache, batch.segments);
    } else {
      x_TD = std::get<CrossLayer>(model_.layers[i])(x_TD, across++, cache, looking);
    }
    if (sink) sink(fmt::format("hidden.{}", i), x_TD);
    const auto extra = static_cast<int>(i) + 1;
    if (extra < parts) x_TD = mx::add(x_TD, part(extra));
  }
  if (auto* tap = nn::InputTap::current(); tap && lm_head_) {
    tap->input(*lm_head_, model_.norm(x_TD));
  }
  if (batch.logits_rows.empty()) return mx::zeros({0, config_.vocab_size});
  const auto head = lm_head_ ? lm_head_->weight() : model_.embed_tokens.weight();
  const auto last_TD = rows_of(x_TD, batch.logits_rows);
  // One row of a prompt would have the whole vocabulary expanded for it.
  const kernels::DecodeRows all(0);
  const auto logits = kernels::products(last_TD, model_.norm.row_norm(), {head})[0];
  if (config_.final_logit_softcapping == 0) return logits;
  const mx::array cap(config_.final_logit_softcapping);
  return mx::multiply(mx::tanh(mx::divide(logits, cap)), cap);
}

std::vector<nn::KvLayer> Decoder::kv_layers() const {
  std::vector<nn::KvLayer> layers;
  for (const auto& any : model_.layers) {
    if (const auto* layer = std::get_if<DecoderLayer>(&any)) layers.push_back(layer->kv_layer());
  }
  return layers;
}

void Decoder::visit_layers(nn::Visitor& visitor) {
  for (auto& any : model_.layers) std::visit([&](auto& layer) { layer.visit(visitor); }, any);
}

void Decoder::keep_states(const mx::array& states_SD, int sequence, nn::KvCache& cache) const {
  int across = 0;
  for (const auto& any : model_.layers) {
    const auto* layer = std::get_if<CrossLayer>(&any);
    if (layer) layer->keep(states_SD, across++, sequence, cache);
  }
}

void Decoder::visit(nn::Visitor& visitor) {
  if (config_.body.empty()) {
    model_.visit(visitor);
  } else {
    visitor.child(config_.body, model_);
  }
  if (lm_head_) visitor.child("lm_head", *lm_head_);
}

}  // namespace fovea::models::text
