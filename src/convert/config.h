// config.json of a converted checkpoint.
#pragma once

#include <optional>

#include "base/json.h"
#include "convert/plan.h"
#include "core/checkpoint.h"

namespace fovea::convert {

// The type of weights that config.json names, at its root or in text_config; nothing where it names
// none that weights have here.
std::optional<mx::Dtype> config_dtype(const Json& config);

// bfloat16, float16 or float32.
mx::Dtype dtype_named(const std::string& name);

// The checkpoint's config.json with the model_type of its family (mlx-vlm reads Pixtral only under
// its own, not as llava), the type and the quantisation that `plan` leaves, the latter under both
// names that mlx-community's readers look for; not tied where `plan` has a head of its own.
Json converted_config(const Checkpoint& checkpoint, const WeightOptions& options, const Plan& plan);

}  // namespace fovea::convert
