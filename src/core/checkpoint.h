// A checkpoint folder in Hugging Face or mlx-community layout: where it is and what its JSON files
// say. No weights are read here. Immutable; any thread may read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/json.h"

namespace fovea {

struct Checkpoint {
  std::string name;  // as the user gave it
  std::filesystem::path folder;
  Json config;             // config.json
  Json generation_config;  // generation_config.json, or null

  // The named JSON file of the folder, or null when there is none.
  Json read_json(const std::string& file_name) const;

  // The named text file of the folder, or nothing when there is none.
  std::optional<std::string> read_text(const std::string& file_name) const;

  // `model_type`, in lower case; an error when config.json has none. A llava whose vision_config is
  // Pixtral's is a pixtral, as MLX's conversions of the same checkpoints say.
  std::string model_type() const;
};

// Told while a checkpoint's weights are read from a disk: how many bytes, and of how many.
using ReadProgress = std::function<void(size_t done, size_t total)>;

// Opens `model`: a folder, or `org/name` or `org/name@revision` looked up in the Hugging Face cache
// (core/hub_cache.h). Throws Error(kNotFound) with one sentence that says what was looked for and
// where.
Checkpoint open_checkpoint(const std::string& model);

}  // namespace fovea
