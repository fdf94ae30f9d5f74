// One safetensors file as arrays over its mapping. Any one thread at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

// How the format spells the type, empty for one that no model here uses.
std::string safetensors_dtype(const mx::Dtype& dtype);

// All tensors of the file in the order of its header. Arrays keep the mapping alive and copy
// nothing. Throws Error(kInvalidData) when the header is not one that the safetensors crate
// accepts, Error(kUnsupported) for an element type that no model here uses.
std::vector<std::pair<std::string, mx::array>> map_safetensors(const std::filesystem::path& path);

// The same of a file that is mapped already; `name` is for messages.
std::vector<std::pair<std::string, mx::array>> tensors_of(const std::shared_ptr<MappedFile>& file,
                                                          const std::string& name);

}  // namespace fovea::nn
