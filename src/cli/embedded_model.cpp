#include "cli/embedded_model.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace fovea::cli {

std::string embedded_model() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto holds_it = [&](const fs::path& folder) {
    return fs::exists(folder / "fovea-tiny" / "config.json", ignored);
  };
  if (const char* folder = std::getenv("FOVEA_MODEL_DIR")) {
    if (holds_it(folder)) return (fs::path(folder) / "fovea-tiny").string();
    fail(ErrorKind::kNotFound,
         "[FOVEA_MODEL_DIR] expected a folder with fovea-tiny in it but got '{}'", folder);
  }
  const fs::path binary = fs::read_symlink("/proc/self/exe", ignored);
  for (const fs::path& folder : {binary.parent_path().parent_path() / "share" / "fovea" / "models",
                                 fs::path(FOVEA_SOURCE_MODELS)}) {
    if (holds_it(folder)) return (folder / "fovea-tiny").string();
  }
  fail(ErrorKind::kNotFound,
       "[model] expected the embedded model fovea-tiny beside the program but found none; name a "
       "folder with --model");
}

}  // namespace fovea::cli
