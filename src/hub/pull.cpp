#include "hub/pull.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "hub/partial_file.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;

// What Fovea reads of a checkpoint, and what people want to see beside it.
const std::vector<std::string>& standard_patterns() {
  static const std::vector<std::string> kPatterns = {
      "*.json",  "*.jsonl",    "*.safetensors", "*.txt",       "*.jinja",
      "*.model", "*.tiktoken", "README.md",     "LICEN[CS]E*", "NOTICE*"};
  return kPatterns;
}

bool ends_with_any(const std::string& path, std::initializer_list<const char*> endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](const char* ending) { return path.ends_with(ending); });
}

bool is_pickle(const std::string& path) {
  return ends_with_any(path, {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npz", ".npy"});
}

bool is_code(const std::string& path) {
  return ends_with_any(path, {".py", ".so", ".sh", ".exe", ".dll", ".dylib"});
}

bool matches(const std::string& path, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
  });
}

// A relative link, there in one step: snapshots/COMMIT/a/b -> ../../../blobs/HASH.
void link_blob(const fs::path& link, const fs::path& blob) {
  const fs::path target = blob.lexically_relative(link.parent_path());
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return;
  const fs::path draft = link.string() + ".fovea-link";
  fs::remove(draft, error);
  fs::create_symlink(target, draft, error);
  if (!error) fs::rename(draft, link, error);
  if (error) {
    fail(ErrorKind::kIo, "[hub] expected to link '{}' but got: {}", link.filename().string(),
         error.message());
  }
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) return;
  fail(ErrorKind::kIo, "[hub] expected a cache that can be written at '{}' but got: {}",
       hub_cache().string(), error.message());
}

class Puller {
 public:
  Puller(const Remote& remote, const HubModel& model, const PullOptions& options)
      : remote_(remote), model_(model), options_(options) {}

  Pulled run() {
    const RemoteModel found = remote_.model(model_, options_.download.stopped);
    const auto files = wanted_files(found, options_.include);
    const fs::path root = repository_folder(model_.repository);
    pulled_.commit = found.commit;
    pulled_.snapshot = root / "snapshots" / found.commit;
    pulled_.files = static_cast<int>(files.size());
    for (const auto& file : files) pulled_.bytes += file.bytes;
    for (const char* folder : {"blobs", "refs", "snapshots"}) make_folder(root / folder);
    make_folder(pulled_.snapshot);
    require_room("hub", root, bytes_missing(files));
    for (const auto& file : files) take(file);
    const fs::path ref = path_inside(root / "refs", model_.revision);
    if (model_.revision != found.commit) {
      make_folder(ref.parent_path());
      write_file_atomic(ref, found.commit);
    }
    return pulled_;
  }

 private:
  fs::path blob_of(const RemoteFile& file) const {
    return repository_folder(model_.repository) / "blobs" / file.digest;
  }

  // Of the right size: its hash was right when it came, or another program says so.
  bool is_here(const RemoteFile& file) const {
    std::error_code error;
    const auto size = fs::file_size(blob_of(file), error);
    return !error && static_cast<int64_t>(size) == file.bytes;
  }

  int64_t bytes_missing(const std::vector<RemoteFile>& files) const {
    int64_t bytes = 0;
    for (const auto& file : files) {
      if (!is_here(file)) bytes += file.bytes - PartialFile::bytes_on_disk(blob_of(file));
    }
    return bytes;
  }

  // `now`: of these bytes, those that came now.
  void count(int64_t bytes, int64_t now) {
    const std::lock_guard lock(mutex_);
    here_ += bytes;
    pulled_.bytes_received += now;
    // What a server without ranges gives again comes more than once.
    if (options_.progress) options_.progress(std::min(here_, pulled_.bytes), pulled_.bytes);
  }

  void take(const RemoteFile& file) {
    const fs::path blob = blob_of(file);
    const fs::path link = path_inside(pulled_.snapshot, file.path);
    const BlobLock lock(hub_cache() / ".locks" / repository_folder(model_.repository).filename() /
                            (file.digest + ".lock"),
                        options_.download.stopped);
    if (is_here(file)) {
      count(file.bytes, 0);
    } else {
      DownloadOptions download = options_.download;
      download.found = [this](int64_t bytes) { count(bytes, 0); };
      download.received = [this](int64_t bytes) { count(bytes, bytes); };
      download_blob(remote_, model_.repository, pulled_.commit, file, blob, download);
    }
    make_folder(link.parent_path());
    link_blob(link, blob);
  }

  const Remote& remote_;
  const HubModel& model_;
  const PullOptions& options_;
  Pulled pulled_;
  std::mutex mutex_;
  int64_t here_ = 0;
};

}  // namespace

std::vector<RemoteFile> wanted_files(const RemoteModel& model,
                                     const std::vector<std::string>& patterns) {
  const auto& wanted = patterns.empty() ? standard_patterns() : patterns;
  std::vector<RemoteFile> files;
  bool pickled = false;
  bool safe = false;
  for (const auto& file : model.files) {
    pickled = pickled || is_pickle(file.path);
    safe = safe || file.path.ends_with(".safetensors");
    if (is_pickle(file.path) || is_code(file.path) || !matches(file.path, wanted)) continue;
    files.push_back(file);
  }
  if (pickled && !safe) {
    fail(ErrorKind::kUnsupported,
         "[hub] expected weights as safetensors but the model has only pickled ones");
  }
  if (files.empty()) {
    fail(ErrorKind::kNotFound, "[hub] expected files that match {} but the model has none",
         fmt::join(wanted, ", "));
  }
  return files;
}

Pulled pull(const Remote& remote, const HubModel& model, const PullOptions& options) {
  return Puller(remote, model, options).run();
}

}  // namespace fovea::hub
