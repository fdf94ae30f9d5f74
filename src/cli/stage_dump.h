// `--dump DIR`: the stages of one answer as DIR/stages.safetensors, under the names of
// docs/parity.md.
#pragma once

#include <filesystem>
#include <string>
#include <unordered_map>

#include "models/model.h"

namespace fovea::cli {

class StageDump {
 public:
  // Makes the folder. Throws Error(kInvalidArgument) when it cannot be written, before any work.
  explicit StageDump(const std::string& folder);

  models::StageSink sink();
  // After the answer; no sink may run any more. An older dump stays until this one is whole.
  // Throws Error(kIo).
  void write() const;

 private:
  std::filesystem::path file_;
  std::unordered_map<std::string, mlx::core::array> stages_;
};

}  // namespace fovea::cli
