#include "hub/cache.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "hub/digest.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";

// models--org--name -> org/name, or nothing.
std::string repository_named(const std::string& folder) {
  if (!folder.starts_with(kPrefix)) return "";
  const std::string text = folder.substr(kPrefix.size());
  const auto at = text.find("--");
  if (at == std::string::npos) return "";
  const std::string name = fmt::format("{}/{}", text.substr(0, at), text.substr(at + 2));
  return is_repository_name(name) ? name : "";
}

// Names in the folder, sorted; none where it cannot be read.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

int64_t size_of(const fs::path& file) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  return error ? -1 : static_cast<int64_t>(bytes);
}

int64_t blob_bytes(const fs::path& root) {
  int64_t bytes = 0;
  for (const auto& name : names_in(root / "blobs")) {
    bytes += std::max<int64_t>(0, size_of(root / "blobs" / name));
  }
  return bytes;
}

std::map<std::string, std::string> refs_of(const fs::path& root) {
  std::map<std::string, std::string> refs;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(root / "refs", error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (!entry->is_regular_file()) continue;
    std::string commit = read_file(entry->path(), 4096);
    commit.erase(commit.find_last_not_of(" \t\r\n") + 1);
    refs.emplace(entry->path().lexically_relative(root / "refs").string(), std::move(commit));
  }
  return refs;
}

std::vector<CachedFile> files_in(const fs::path& snapshot) {
  std::vector<CachedFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot)) {
    if (!entry.is_symlink() && !entry.is_regular_file()) continue;
    const fs::path& path = entry.path();
    const fs::path blob = entry.is_symlink()
                              ? (path.parent_path() / fs::read_symlink(path)).lexically_normal()
                              : path;
    files.push_back({path.lexically_relative(snapshot).string(), blob, size_of(path)});
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

fs::path require_snapshot(const HubModel& model) {
  if (auto snapshot = cached_snapshot(model)) return *snapshot;
  fail(ErrorKind::kNotFound, "[hub] expected '{}' at '{}' in the cache '{}' but it is not there",
       model.repository, model.revision, hub_cache().string());
}

// Under another name first, so that nobody sees half of it.
void remove_whole(const fs::path& folder) {
  const fs::path doomed = folder.parent_path() / fmt::format(".fovea-removed-{}-{}", ::getpid(),
                                                             folder.filename().string());
  std::error_code error;
  fs::rename(folder, doomed, error);
  if (!error) fs::remove_all(doomed, error);
  if (!error) return;
  fail(ErrorKind::kIo, "[hub] expected to remove '{}' but got: {}", folder.filename().string(),
       error.message());
}

}  // namespace

std::vector<CachedRepository> cached_repositories() {
  std::vector<CachedRepository> found;
  for (const auto& folder : names_in(hub_cache())) {
    const std::string name = repository_named(folder);
    if (name.empty()) continue;
    const fs::path root = hub_cache() / folder;
    found.push_back({name, blob_bytes(root), names_in(root / "snapshots"), refs_of(root)});
  }
  return found;
}

std::vector<CachedFile> cached_files(const HubModel& model) {
  return files_in(require_snapshot(model));
}

Health check(const CachedFile& file) {
  if (file.bytes < 0) return Health::kMissing;
  const std::string name = file.blob.filename().string();
  if (!is_digest(name)) return Health::kUnknown;
  return digest_of(file.blob, name) == name ? Health::kGood : Health::kWrong;
}

int64_t remove_snapshot(const HubModel& model) {
  const fs::path snapshot = require_snapshot(model);
  const fs::path root = repository_folder(model.repository);
  const auto commits = names_in(root / "snapshots");
  if (commits.size() == 1) return remove_repository(model.repository);
  const int64_t before = blob_bytes(root);
  std::set<fs::path> needed;
  for (const auto& commit : commits) {
    if (root / "snapshots" / commit == snapshot) continue;
    for (const auto& file : files_in(root / "snapshots" / commit)) needed.insert(file.blob);
  }
  const auto files = files_in(snapshot);
  for (const auto& [ref, commit] : refs_of(root)) {
    if (commit == snapshot.filename()) fs::remove(root / "refs" / ref);
  }
  remove_whole(snapshot);
  for (const auto& file : files) {
    const bool ours = file.blob.parent_path() == root / "blobs";
    if (ours && !needed.contains(file.blob)) fs::remove(file.blob);
  }
  return before - blob_bytes(root);
}

int64_t remove_repository(const std::string& repository) {
  const fs::path root = repository_folder(repository);
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    fail(ErrorKind::kNotFound, "[hub] expected '{}' in the cache '{}' but it is not there",
         repository, hub_cache().string());
  }
  const int64_t bytes = blob_bytes(root);
  remove_whole(root);
  fs::remove_all(hub_cache() / ".locks" / root.filename(), error);
  return bytes;
}

}  // namespace fovea::hub
