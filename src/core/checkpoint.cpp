#include "core/checkpoint.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path hub_cache() {
  if (const auto cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const auto home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const auto xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) {
    return fs::path(xdg) / "huggingface" / "hub";
  }
  return fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub";
}

// org/name -> models--org--name, the folder of the cache layout.
bool is_repository_name(const std::string& model) {
  const auto slash = model.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == model.size()) return false;
  if (model.find('/', slash + 1) != std::string::npos || model.find("--") != std::string::npos) {
    return false;
  }
  return std::all_of(model.begin(), model.end(),
                     [](unsigned char c) {
                       return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
                     }) &&
         model.front() != '.' && model[slash + 1] != '.';
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text;
}

std::optional<fs::path> cached_snapshot(const std::string& model) {
  std::string folder = "models--" + model;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path root = hub_cache() / folder;
  const fs::path ref = root / "refs" / "main";
  std::error_code unreadable;
  if (!fs::is_regular_file(ref, unreadable)) return std::nullopt;
  const fs::path snapshot = path_inside(root / "snapshots", trimmed(read_file(ref, 4096)));
  if (!fs::is_directory(snapshot, unreadable)) return std::nullopt;
  return snapshot;
}

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
  if (!is_repository_name(model)) {
    fail(ErrorKind::kNotFound,
         "[model] expected a checkpoint folder or org/name but there is no folder '{}'", model);
  }
  if (auto snapshot = cached_snapshot(model)) return *snapshot;
  fail(ErrorKind::kNotFound,
       "[model] expected '{}' as a folder or in the Hugging Face cache '{}' but it is in neither",
       model, hub_cache().string());
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
