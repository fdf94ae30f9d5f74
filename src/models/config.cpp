#include "models/config.h"

#include <set>

#include "base/error.h"

namespace fovea::models {

int required_size(const Json& config, const std::string& key) {
  const int size = config[key].as_int32();
  if (size <= 0 || size > (1 << 28)) {
    fail(ErrorKind::kInvalidData, "[{}] expected a positive size at '{}' but got {}",
         config.where(), config[key].path(), size);
  }
  return size;
}

int optional_size(const Json& config, const std::string& key, int fallback, int most) {
  const int size = config.get_int(key, fallback);
  if (size < 1 || size > most) {
    fail(ErrorKind::kInvalidData, "[{}] expected a size from 1 to {} at '{}' but got {}",
         config.where(), most, config[key].path(), size);
  }
  return size;
}

int context_length(const Json& text_config) {
  return text_config.get_int("max_position_embeddings", 4096);
}

TextLimits read_text_limits(const Checkpoint& checkpoint) {
  const Json nested = checkpoint.config["text_config"];
  const Json& text = nested.contains("hidden_size") ? nested : checkpoint.config;
  return {context_length(text), required_size(text, "vocab_size")};
}

void require_multiple(const Json& config, const std::string& whole, const std::string& part) {
  const int a = required_size(config, whole);
  const int b = required_size(config, part);
  if (a % b != 0) {
    fail(ErrorKind::kInvalidData, "[{}] expected '{}' to be a multiple of '{}' but got {} and {}",
         config.where(), config[whole].path(), config[part].path(), a, b);
  }
}

std::vector<int32_t> eos_token_ids(const Checkpoint& checkpoint) {
  std::set<int32_t> ids;
  for (const Json& source :
       {checkpoint.generation_config, checkpoint.config, checkpoint.config["text_config"]}) {
    const Json eos = source["eos_token_id"];
    if (eos.is_integer()) ids.insert(eos.as_int32());
    if (eos.is_array()) {
      for (const int id : eos.as_int_list()) ids.insert(id);
    }
  }
  return {ids.begin(), ids.end()};
}

}  // namespace fovea::models
