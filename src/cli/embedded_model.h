// Where the model that ships with Fovea lies.
#pragma once

#include <string>

namespace fovea::cli {

// FOVEA_MODEL_DIR, else ../share/fovea/models beside the binary's folder, else the source tree's
// models/; in it fovea-tiny. Throws Error(kNotFound) when there is none.
std::string embedded_model();

}  // namespace fovea::cli
