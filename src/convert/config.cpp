#include "convert/config.h"

#include <algorithm>
#include <array>
#include <map>

namespace fovea::convert {
namespace {

const std::map<std::string, mx::Dtype>& dtypes() {
  static const std::map<std::string, mx::Dtype> kDtypes = {
      {"bfloat16", mx::bfloat16}, {"float16", mx::float16}, {"float32", mx::float32}};
  return kDtypes;
}

// Both spellings that transformers has had.
constexpr std::array kDtypeKeys = {"torch_dtype", "dtype"};

JsonObject format_object(const QuantFormat& format) {
  JsonObject object;
  object.set("group_size", format.group_size).set("bits", format.bits).set("mode", format.mode);
  return object;
}

// The members of `config` but those of the old weights, sorted as mlx-community has them.
JsonObject kept_members(const Json& config, const WeightOptions& options, bool has_head) {
  const bool keeps_quantization = !options.recipe && !options.dequantize;
  auto keys = config.keys();
  std::sort(keys.begin(), keys.end());
  JsonObject kept;
  for (const auto& key : keys) {
    if (key == "_name_or_path") continue;
    if (key.starts_with("quantization") && !keeps_quantization) continue;
    kept.set(key, config[key]);
  }
  // Readers that go by the config alone would throw the head away.
  if (has_head && config.get_bool("tie_word_embeddings", false)) {
    kept.set("tie_word_embeddings", false);
  }
  if (!options.dtype) return kept;
  for (const auto& [name, dtype] : dtypes()) {
    for (const char* key : kDtypeKeys) {
      if (dtype == *options.dtype && config[key].is_string()) kept.set(key, name);
    }
  }
  return kept;
}

// Of weights that stay quantised, with what is new beside them.
JsonObject with_overrides(const Json& quantization, const Plan& plan) {
  JsonObject made;
  for (const auto& key : quantization.keys()) made.set(key, quantization[key]);
  for (const auto& [path, format] : plan.overrides) made.set(path, format_object(format));
  return made;
}

}  // namespace

std::optional<mx::Dtype> config_dtype(const Json& config) {
  for (const Json& object : {config, config["text_config"]}) {
    for (const char* key : kDtypeKeys) {
      const Json name = object[key];
      if (!name.is_string()) continue;
      const auto found = dtypes().find(name.as_string());
      if (found != dtypes().end()) return found->second;
    }
  }
  return std::nullopt;
}

mx::Dtype dtype_named(const std::string& name) { return dtypes().at(name); }

Json converted_config(const Checkpoint& checkpoint, const WeightOptions& options,
                      const Plan& plan) {
  const Json& config = checkpoint.config;
  const bool has_head =
      std::any_of(plan.weights.begin(), plan.weights.end(), [](const PlannedWeight& weight) {
        const bool head =
            weight.path.ends_with("lm_head") || weight.path.ends_with("lm_head.weight");
        return head && !weight.again;
      });
  JsonObject made = kept_members(config, options, has_head);
  made.set("model_type", checkpoint.model_type());
  // Else the head that was written for mlx-vlm's sake would count as another one.
  if (plan.tied_head_written) made.set("tie_word_embeddings", true);
  const Json text = config["text_config"];
  if (text.is_object()) made.set("text_config", kept_members(text, options, has_head));
  if (options.recipe) {
    JsonObject quantization = format_object(options.recipe->format);
    for (const auto& [path, format] : plan.overrides) {
      quantization.set(path, format_object(format));
    }
    made.set("quantization", quantization).set("quantization_config", quantization);
  } else if (!options.dequantize && !plan.overrides.empty()) {
    for (const char* key : {"quantization", "quantization_config"}) {
      if (config[key].is_object()) made.set(key, with_overrides(config[key], plan));
    }
  }
  return made.freeze("config.json");
}

}  // namespace fovea::convert
