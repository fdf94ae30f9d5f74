#include "core/checkpoint.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/file.h"
#include "core/hub_cache.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

fs::path locate(const std::string& model) {
  std::error_code error;
  const auto status = fs::status(model, error);
  if (fs::is_directory(status)) return model;
  if (!fs::status_known(status)) {
    fail(ErrorKind::kInvalidArgument,
         "[model] expected a checkpoint folder that can be read but got '{}': {}", model,
         error.message());
  }
  if (fs::exists(status)) {
    fail(ErrorKind::kInvalidArgument, "[model] expected a checkpoint folder but '{}' is a file",
         model);
  }
  const auto named = parse_hub_model(model);
  if (!named) {
    fail(ErrorKind::kNotFound,
         "[model] expected a checkpoint folder or org/name but there is no folder '{}'", model);
  }
  if (auto snapshot = cached_snapshot(*named)) return *snapshot;
  fail(ErrorKind::kNotFound,
       "[model] expected '{}' as a folder or in the Hugging Face cache '{}' but it is in neither; "
       "run fovea pull {}",
       model, hub_cache().string(), model);
}

}  // namespace

Json Checkpoint::read_json(const std::string& file_name) const {
  const auto text = read_text(file_name);
  return text ? Json::parse(*text, file_name) : Json();
}

std::optional<std::string> Checkpoint::read_text(const std::string& file_name) const {
  const fs::path path = path_inside(folder, file_name);
  std::error_code error;
  if (fs::status(path, error).type() == fs::file_type::not_found) return std::nullopt;
  return read_file(path, size_t{256} << 20);
}

std::string Checkpoint::model_type() const {
  std::string type = config["model_type"].as_string();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const Json tower = config["vision_config"]["model_type"];
  if (type == "llava" && tower.is_string() && tower.as_string() == "pixtral") return "pixtral";
  return type;
}

Checkpoint open_checkpoint(const std::string& model) {
  Checkpoint checkpoint;
  checkpoint.name = model;
  checkpoint.folder = locate(model);
  checkpoint.config = checkpoint.read_json("config.json");
  if (checkpoint.config.is_null()) {
    fail(ErrorKind::kNotFound, "[model] expected a file config.json in '{}' but there is none",
         model);
  }
  checkpoint.config.as_object();
  checkpoint.generation_config = checkpoint.read_json("generation_config.json");
  return checkpoint;
}

}  // namespace fovea
