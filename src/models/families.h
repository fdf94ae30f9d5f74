// The factories of all families, one a file; registry.cpp has the table. They build what
// build_model() promises.
#pragma once

#include <memory>

#include "models/model.h"

namespace fovea::models {

std::unique_ptr<Model> make_llava(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_qwen2_vl(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_text_only(const Checkpoint& checkpoint);

}  // namespace fovea::models
