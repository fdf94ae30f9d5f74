#include "models/config.h"

#include <set>

#include "base/error.h"

namespace fovea::models {

int optional_size(const Json& config, const std::string& key, int fallback, int most) {
  const int size = config.get_int(key, fallback);
  if (size < 1 || size > most) {
    fail(ErrorKind::kInvalidData, "[{}] expected a size from 1 to {} at '{}' but got {}",
         config.where(), most, config[key].path(), size);
  }
  return size;
}

int product_size(const Json& config, const std::string& what, std::initializer_list<int> sizes) {
  int64_t product = 1;
  for (const int size : sizes) {
    product *= size;
    if (product > kWidthMax) {
      fail(ErrorKind::kInvalidData, "[{}] expected {} of at most {} values but got {}",
           config.where(), what, kWidthMax, fmt::join(sizes, " x "));
    }
  }
  return static_cast<int>(product);
}

void require_multiple(const Json& config, const std::string& whole_key, int whole,
                      const std::string& part_key, int part) {
  if (whole % part == 0) return;
  fail(ErrorKind::kInvalidData, "[{}] expected '{}' to be a multiple of '{}' but got {} and {}",
       config.where(), config[whole_key].path(), config[part_key].path(), whole, part);
}

std::optional<bool> tie_word_embeddings(const Json& config) {
  std::optional<bool> tied;
  for (const Json& said :
       {config["tie_word_embeddings"], config["text_config"]["tie_word_embeddings"]}) {
    if (!said.is_null()) tied = tied.value_or(false) || said.as_bool();
  }
  return tied;
}

std::vector<int32_t> eos_token_ids(const Checkpoint& checkpoint) {
  std::set<int32_t> ids;
  for (const Json& source : {checkpoint.generation_config, checkpoint.config,
                             checkpoint.config["text_config"], checkpoint.config["llm_config"]}) {
    const Json eos = source["eos_token_id"];
    if (eos.is_null()) continue;
    if (eos.is_array()) {
      for (const int id : eos.as_int_list()) ids.insert(id);
    } else {
      ids.insert(eos.as_int32());
    }
  }
  return {ids.begin(), ids.end()};
}

}  // namespace fovea::models
