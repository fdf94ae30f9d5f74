#include "support/source_path.h"

namespace fovea::testing {

std::filesystem::path source_path(const std::string& name) {
  return std::filesystem::path(FOVEA_SOURCE_DIR) / name;
}

}  // namespace fovea::testing
