// From the names of tensors in checkpoints to module paths.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fovea::models {

using NameRule = std::function<std::string(const std::string&)>;

// The first prefix that fits is replaced; a name without any stays.
std::string replace_prefix(const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& prefixes);

// `rule`, but tensors that no model reads are dropped: rotary tables and position indices.
NameRule drop_unused(NameRule rule);

}  // namespace fovea::models
