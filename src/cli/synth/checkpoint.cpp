#include "cli/synth/checkpoint.h"

#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/synth/tokenizer.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;

void make_empty_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder) || ::access(folder.c_str(), W_OK) != 0) {
    fail(ErrorKind::kInvalidArgument, "[synth] expected a folder that can be written but got '{}'",
         folder.string());
  }
  if (!fs::is_empty(folder)) {
    fail(ErrorKind::kInvalidArgument,
         "[synth] expected a new or empty folder but '{}' has files already", folder.string());
  }
}

Json full_config(const SynthShape& shape, const SynthOptions& options) {
  JsonObject more;
  more.set("torch_dtype", options.dtype);
  if (options.affine) {
    JsonObject quantization;
    quantization.set("group_size", options.affine->group_size);
    quantization.set("bits", options.affine->bits).set("mode", "affine");
    // Under both names, as mlx-vlm writes it.
    more.set("quantization", quantization).set("quantization_config", quantization);
  }
  return merged(shape.files["config.json"], more.freeze(shape.name));
}

nn::WrittenWeights write_files(const SynthShape& shape, const SynthOptions& options,
                               const fs::path& folder) {
  const Json config = full_config(shape, options);
  const Checkpoint checkpoint{shape.name, folder, config, shape.files["generation_config.json"]};
  const auto model = models::build_model(checkpoint);
  const auto written = write_weights(folder, plan_weights(*model, config, options), options);
  write_file_atomic(folder / "tokenizer.json", synth_tokenizer_json(shape.vocabulary));
  write_file_atomic(folder / "tokenizer_config.json",
                    synth_tokenizer_config_json(shape.vocabulary));
  for (const auto& name : shape.files.keys()) {
    if (name != "config.json") write_file_atomic(folder / name, shape.files[name].dump());
  }
  write_file_atomic(folder / "config.json", config.dump());
  return written;
}

}  // namespace

nn::WrittenWeights write_synth_checkpoint(const SynthShape& shape, const SynthOptions& options,
                                          const fs::path& folder) {
  make_empty_folder(folder);
  try {
    return write_files(shape, options, folder);
  } catch (...) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      fs::remove(entry.path(), ignored);
    }
    throw;
  }
}

}  // namespace fovea::cli
