#include "models/decoder_model.h"

#include "models/config.h"

namespace fovea::models {
namespace {

ModelInfo decoder_info(const Checkpoint& checkpoint, const text::Decoder& decoder) {
  const auto& c = decoder.config();
  ModelInfo info;
  info.model_type = checkpoint.model_type();
  info.vocab_size = c.vocab_size;
  info.context_length = c.max_position_embeddings;
  info.num_layers = c.num_hidden_layers;
  info.num_key_value_heads = c.attention.num_key_value_heads;
  info.head_dim = c.attention.head_dim;
  info.position_axes = decoder.position_axes();
  info.tied_lm_head = c.tie_word_embeddings;
  info.eos_token_ids = eos_token_ids(checkpoint);
  return info;
}

}  // namespace

DecoderModel::DecoderModel(const Checkpoint& checkpoint, const text::DecoderConfig& config,
                           const Json& text_config)
    : decoder_(config, text_config), info_(decoder_info(checkpoint, decoder_)) {}

mx::array DecoderModel::embed_tokens(std::span<const int32_t> tokens) const {
  return decoder_.embed_tokens(tokens);
}

Positions DecoderModel::position_ids(const Prompt& prompt) const {
  return consecutive_positions(static_cast<int>(prompt.tokens.size()), 1);
}

mx::array DecoderModel::forward(const Batch& batch, nn::KvCache& cache,
                                const StageSink& sink) const {
  return decoder_.forward(batch, cache, sink);
}

}  // namespace fovea::models
