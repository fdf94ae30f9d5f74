#include "cli/stage_dump.h"

#include "base/error.h"
#include "base/file.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::cli {
namespace {

// The decoder's layers are too much for a file that people look at.
bool is_wanted(const std::string& stage) { return !stage.starts_with("hidden."); }

}  // namespace

StageDump::StageDump(const std::string& folder)
    : file_(std::filesystem::path(folder) / "stages.safetensors") {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  try {
    if (folder.empty()) fail(ErrorKind::kNotFound, "[--dump] expected a folder");
    const DraftFile probe(file_);
  } catch (const Error&) {
    fail(ErrorKind::kInvalidArgument, "[--dump] expected a folder that can be written but got '{}'",
         folder);
  }
}

models::StageSink StageDump::sink() {
  return [this](const std::string& name, const mlx::core::array& value) {
    if (!is_wanted(name)) return;
    auto copy = mlx::core::contiguous(value);
    mlx::core::eval(copy);
    stages_.insert_or_assign(name, copy);
  };
}

void StageDump::write() const {
  try {
    DraftFile file(file_);
    mlx::core::save_safetensors(file.draft().string(), stages_, {{"format", "mlx"}});
    file.publish();
  } catch (const std::exception&) {
    fail(ErrorKind::kIo, "[--dump] expected to write '{}' but the system refused", file_.string());
  }
}

}  // namespace fovea::cli
