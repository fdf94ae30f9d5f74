// A folder that appears whole or not at all. One thread at a time.
#pragma once

#include <filesystem>
#include <string>

namespace fovea {

// A new folder beside `path`, called `path`.partial-XXXXXX, that becomes `path` when it is
// published. Never published, it is gone when this is; what a killed process left goes when the
// next one asks for the same `path`. Functions throw Error as those of base/file.h do.
class DraftFolder {
 public:
  // Throws Error(kInvalidArgument) when there is something at `path` already, or no folder that can
  // be written above it.
  explicit DraftFolder(const std::filesystem::path& path);
  ~DraftFolder();
  DraftFolder(const DraftFolder&) = delete;
  DraftFolder& operator=(const DraftFolder&) = delete;

  const std::filesystem::path& draft() const { return draft_; }
  // Syncs every file and renames; what came to `path` meanwhile stays and is an error.
  void publish();

 private:
  std::string name_;  // as the caller gave it
  std::filesystem::path path_;
  std::filesystem::path draft_;
  int lock_ = -1;  // of the folder: a partial folder whose lock is free belongs to nobody
  bool published_ = false;
};

}  // namespace fovea
