#include "models/config.h"

#include <array>
#include <set>

#include "base/error.h"

namespace fovea::models {
namespace {

// Where config.json speaks of the decoder, itself included; null where it has no such part.
std::array<Json, 3> text_configs(const Json& config) {
  return {config, config["text_config"], config["llm_config"]};
}

}  // namespace

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
  for (const Json& part : text_configs(config)) {
    const Json said = part["tie_word_embeddings"];
    if (!said.is_null()) tied = tied.value_or(false) || said.as_bool();
  }
  return tied;
}

std::vector<int32_t> eos_token_ids(const Checkpoint& checkpoint) {
  std::set<int32_t> ids;
  const auto add = [&](const Json& eos) {
    if (eos.is_null()) return;
    if (!eos.is_array()) {
      ids.insert(eos.as_int32());
      return;
    }
    for (const int id : eos.as_int_list()) ids.insert(id);
  };
  add(checkpoint.generation_config["eos_token_id"]);
  for (const Json& part : text_configs(checkpoint.config)) add(part["eos_token_id"]);
  return {ids.begin(), ids.end()};
}

}  // namespace fovea::models
