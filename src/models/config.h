// Reading what every family's config.json shares. Errors name the key.
#pragma once

#include <string>

#include "base/json.h"
#include "core/checkpoint.h"
#include "models/model.h"

namespace fovea::models {

// A size that must be there and positive.
int required_size(const Json& config, const std::string& key);

// A size of [1, most], or `fallback` where there is none.
int optional_size(const Json& config, const std::string& key, int fallback, int most);

// What a model will say of itself in ModelInfo, from config.json alone.
struct TextLimits {
  int context_length = 0;
  int vocab_size = 0;
};
TextLimits read_text_limits(const Checkpoint& checkpoint);

// max_position_embeddings of a decoder's settings.
int context_length(const Json& text_config);

// Fails unless `whole` is a multiple of `part`.
void require_multiple(const Json& config, const std::string& whole, const std::string& part);

// eos_token_id of generation_config.json, config.json and its text_config, united and sorted.
std::vector<int32_t> eos_token_ids(const Checkpoint& checkpoint);

}  // namespace fovea::models
