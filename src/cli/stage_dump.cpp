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

StageDump::StageDump(const std::string& folder) : folder_(folder) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  try {
    write_file_atomic(folder_ / "stages.safetensors", "");
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
  // Beside the final name, then renamed: nobody reads half a file.
  const auto draft = folder_ / "stages.draft.safetensors";
  mlx::core::save_safetensors(draft.string(), stages_);
  std::filesystem::rename(draft, folder_ / "stages.safetensors");
}

}  // namespace fovea::cli
