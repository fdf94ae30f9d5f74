#include "models/names.h"

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

}  // namespace fovea::models
