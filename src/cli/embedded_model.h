// Where the model that ships with Fovea lies.
#pragma once

#include <string>

namespace fovea::cli {

// fovea-tiny in FOVEA_MODEL_DIR when that is set; else in ../share/fovea/models beside the binary's
// folder, else in the source tree's models/. Throws Error(kNotFound) when there is none.
std::string embedded_model();

}  // namespace fovea::cli
