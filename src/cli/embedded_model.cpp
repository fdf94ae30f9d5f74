#include "cli/embedded_model.h"

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/error.h"

namespace fovea::cli {

std::string embedded_model() {
  namespace fs = std::filesystem;
  std::vector<fs::path> folders;
  if (const char* folder = std::getenv("FOVEA_MODEL_DIR")) folders.emplace_back(folder);
  std::error_code ignored;
  const fs::path binary = fs::read_symlink("/proc/self/exe", ignored);
  folders.push_back(binary.parent_path().parent_path() / "share" / "fovea" / "models");
  folders.emplace_back(FOVEA_SOURCE_MODELS);
  for (const auto& folder : folders) {
    if (fs::exists(folder / "fovea-tiny" / "config.json")) return (folder / "fovea-tiny").string();
  }
  fail(ErrorKind::kNotFound,
       "[model] expected the embedded model fovea-tiny beside the program but found none; name a "
       "folder with --model");
}

}  // namespace fovea::cli
