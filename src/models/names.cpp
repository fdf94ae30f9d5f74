#include "models/names.h"

namespace fovea::models {

std::string replace_prefix(const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& prefixes) {
  for (const auto& [from, to] : prefixes) {
    if (name.starts_with(from)) return to + name.substr(from.size());
  }
  return name;
}

NameRule drop_unused(NameRule rule) {
  return [rule = std::move(rule)](const std::string& name) -> std::string {
    if (name.ends_with("rotary_emb.inv_freq") || name.ends_with("position_ids")) return "";
    return rule(name);
  };
}

}  // namespace fovea::models
