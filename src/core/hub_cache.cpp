#include "core/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/file.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text;
}

}  // namespace

bool is_repository_name(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) return false;
  if (text.find('/', slash + 1) != std::string::npos || text.find("--") != std::string::npos ||
      text.find("..") != std::string::npos) {
    return false;
  }
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) {
                       return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
                     }) &&
         text.front() != '.' && text[slash + 1] != '.';
}

std::optional<HubModel> parse_hub_model(const std::string& text) {
  HubModel model;
  const auto at = text.find('@');
  model.repository = text.substr(0, at);
  if (at != std::string::npos) model.revision = text.substr(at + 1);
  if (!is_repository_name(model.repository) || model.revision.empty()) return std::nullopt;
  return model;
}

fs::path hub_home() {
  if (const auto home = environment("HF_HOME"); !home.empty()) return home;
  if (const auto xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) {
    return fs::path(xdg) / "huggingface";
  }
  return fs::path(environment("HOME")) / ".cache" / "huggingface";
}

fs::path hub_cache() {
  if (const auto cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  return hub_home() / "hub";
}

fs::path repository_folder(const std::string& repository) {
  std::string folder = "models--" + repository;
  folder.replace(folder.find('/'), 1, "--");
  return hub_cache() / folder;
}

std::optional<std::string> cached_commit(const HubModel& model) {
  const fs::path root = repository_folder(model.repository);
  const fs::path ref = path_inside(root / "refs", model.revision);
  std::error_code unreadable;
  if (fs::is_regular_file(ref, unreadable)) {
    std::string commit = trimmed(read_file(ref, 4096));
    path_inside(root / "snapshots", commit);
    return commit;
  }
  if (fs::is_directory(path_inside(root / "snapshots", model.revision), unreadable)) {
    return model.revision;
  }
  return std::nullopt;
}

std::optional<fs::path> cached_snapshot(const HubModel& model) {
  const auto commit = cached_commit(model);
  if (!commit) return std::nullopt;
  const fs::path snapshot = repository_folder(model.repository) / "snapshots" / *commit;
  std::error_code unreadable;
  if (!fs::is_directory(snapshot, unreadable)) return std::nullopt;
  return snapshot;
}

}  // namespace fovea
