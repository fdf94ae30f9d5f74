#include "models/names.h"

#include "models/config.h"

namespace fovea::models {

std::string replace_prefix(const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& prefixes) {
  for (const auto& [from, to] : prefixes) {
    if (name.starts_with(from)) return to + name.substr(from.size());
  }
  return name;
}

NameRule drop_unused(NameRule rule, bool tied_lm_head) {
  return [rule = std::move(rule), tied_lm_head](const std::string& name) -> std::string {
    if (name.ends_with("rotary_emb.inv_freq") || name.ends_with("position_ids")) return "";
    std::string path = rule(name);
    const bool head = path.starts_with("lm_head.") || path.starts_with("language_model.lm_head.");
    return head && tied_lm_head ? "" : path;
  };
}

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

}  // namespace fovea::models
