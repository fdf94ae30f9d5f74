// Reading what every family's config.json shares. Errors name the key.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "base/json.h"
#include "core/checkpoint.h"
#include "models/model.h"

namespace fovea::models {

// Far beyond any model. A layer costs memory before its weights are looked for; twice the largest
// width is still an int.
inline constexpr int kLayersMax = 1024;
inline constexpr int kWidthMax = 1 << 28;
inline constexpr int kExpertsMax = 1024;

// Of towers: far beyond any, and such that no product of two leaves an int.
inline constexpr int kTowerSideMax = 4096;   // of a picture
inline constexpr int kTowerPatchMax = 1024;  // where the picture has no size of its own
inline constexpr int kTowerChannelsMax = 16;

// A size of [1, most], or `fallback` where the config does not say: Hugging Face leaves out what
// equals the default of its configuration class.
int optional_size(const Json& config, const std::string& key, int fallback, int most = kWidthMax);

// The product of sizes; fails naming `what` of `config` where it is beyond kWidthMax.
int product_size(const Json& config, const std::string& what, std::initializer_list<int> sizes);

// Fails unless `whole` is a multiple of `part`; the keys are for the message.
void require_multiple(const Json& config, const std::string& whole_key, int whole,
                      const std::string& part_key, int part);

// tie_word_embeddings of config.json or of its text_config or llm_config; true where one says so,
// as in Hugging Face, and nothing where all are silent.
std::optional<bool> tie_word_embeddings(const Json& config);

// eos_token_id of generation_config.json, config.json and its text_config or llm_config, united and
// sorted.
std::vector<int32_t> eos_token_ids(const Checkpoint& checkpoint);

}  // namespace fovea::models
