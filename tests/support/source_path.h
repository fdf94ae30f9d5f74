// Where tests find files of the repository.
#pragma once

#include <filesystem>
#include <string>

namespace fovea::testing {

// `name` is relative to the repository's root.
std::filesystem::path source_path(const std::string& name);

}  // namespace fovea::testing
