#include "models/decoder_model.h"

#include "mlx/ops.h"
#include "models/config.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

ModelInfo decoder_info(const Checkpoint& checkpoint, const text::DecoderConfig& c) {
  ModelInfo info;
  info.model_type = checkpoint.model_type();
  info.vocab_size = c.vocab_size;
  info.context_length = c.max_position_embeddings;
  info.num_layers = c.num_hidden_layers;
  info.cross_layers = c.cross_layers();
  info.extra_tokens = c.extra_tokens;
  info.hidden_size = c.hidden_size;
  info.position_axes = c.rope.axes();
  info.eos_token_ids = eos_token_ids(checkpoint);
  return info;
}

}  // namespace

DecoderModel::DecoderModel(const Checkpoint& checkpoint, const text::DecoderConfig& config)
    : decoder_(config), info_(decoder_info(checkpoint, config)) {}

mx::array DecoderModel::embed_tokens(std::span<const int32_t> tokens) const {
  const auto embeds_TD = decoder_.embed_tokens(tokens);
  const int extra = decoder_.config().deepstack_layers * decoder_.config().hidden_size;
  return extra == 0 ? embeds_TD : mx::pad(embeds_TD, {{0, 0}, {0, extra}});
}

std::string DecoderModel::prefix_scope(const Prompt& prompt) const {
  const auto last = static_cast<int>(prompt.tokens.size()) - 1;
  return decoder_.config().rope.is_long(last) ? "long" : "";
}

Positions DecoderModel::position_ids(const Prompt& prompt) const {
  const auto length = static_cast<int>(prompt.tokens.size());
  if (!decoder_.config().rope.depends_on_length()) {
    return consecutive_positions(length, info_.position_axes);
  }
  const auto last = mx::full({1, length}, length - 1, mx::int32);
  return {mx::concatenate({consecutive_positions(length, 1).position_ids_AL, last}, 0), 0};
}

mx::array DecoderModel::forward(const Batch& batch, nn::KvCache& cache,
                                const StageSink& sink) const {
  return decoder_.forward(batch, cache, sink);
}

void DecoderModel::prepare_weights(nn::Weights& weights) {
  const auto names = weight_names();
  weights.rename(drop_unused(names.module_path));
  settle_head(weights, names.decoder);
  if (names.patch_channels > 0) {
    weights.flatten_convolution(names.patch_embedding + ".weight", names.patch_channels);
  }
}

std::vector<InputGroup> DecoderModel::input_groups() const {
  auto groups = decoder_.input_groups();
  const std::string decoder = weight_names().decoder;
  for (auto& group : groups) {
    group.source_path = decoder + group.source_path;
    for (auto& product : group.products) product = decoder + product;
  }
  return groups;
}

// Torch files hold tied embeddings twice; the copy goes.
void DecoderModel::settle_head(nn::Weights& weights, const std::string& decoder) {
  const auto& config = decoder_.config();
  const std::string head = decoder + "lm_head.";
  const std::string table =
      decoder + (config.body.empty() ? "" : config.body + ".") + "embed_tokens.";
  if (config.tie_word_embeddings.value_or(false) && weights.equal(head, table)) {
    weights.rename([&](const std::string& path) { return path.starts_with(head) ? "" : path; });
    weights.release_pages();  // of what was compared
  }
  decoder_.settle_head(weights.contains(head + "weight"));
}

bool DecoderModel::is_media_weight(const std::string& name) const {
  return !name.starts_with(weight_names().decoder);
}

}  // namespace fovea::models
