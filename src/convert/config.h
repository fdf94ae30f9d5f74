// config.json of a converted checkpoint.
#pragma once

#include <optional>

#include "base/json.h"
#include "convert/plan.h"

namespace fovea::convert {

// The type of weights that config.json names, at its root or in text_config; nothing where it names
// none that weights have here.
std::optional<mx::Dtype> config_dtype(const Json& config);

// bfloat16, float16 or float32.
mx::Dtype dtype_named(const std::string& name);

// `config` with the type and the quantisation that `plan` leaves, the latter under both names that
// mlx-community's readers look for; not tied where `plan` has a head.
Json converted_config(const Json& config, const WeightOptions& options, const Plan& plan);

}  // namespace fovea::convert
