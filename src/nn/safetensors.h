// One safetensors file as arrays over its mapping. Any one thread at a time.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

// All tensors of the file in the order of its header. Arrays keep the mapping alive and copy
// nothing. Throws Error(kInvalidData) when the header is not one that the safetensors crate
// accepts, Error(kUnsupported) for an element type that no model here uses.
std::vector<std::pair<std::string, mx::array>> map_safetensors(const std::filesystem::path& path);

}  // namespace fovea::nn
