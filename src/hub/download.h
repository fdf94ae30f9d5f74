// One file of a model into a blob of the cache, over several connections, resumed where an earlier
// run was cut off. Any thread may call; of processes that want the same blob one works at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/remote.h"

namespace fovea::hub {

struct DownloadOptions {
  int connections = 4;
  int64_t chunk_bytes = int64_t{8} << 20;  // what is lost of each connection at most
  // Both are told of bytes, from any of its threads: of those that an earlier run left, less than
  // nothing when they turn out to be wrong, and of those that come now.
  std::function<void(int64_t)> found = {};
  std::function<void(int64_t)> received = {};
  std::function<bool()> stopped = {};  // asked often; true ends with Error(kCancelled)
};

// Holds the lock file that huggingface_hub holds for a blob too. Waits for it. Throws
// Error(kIo) where the file system has no locks.
class BlobLock {
 public:
  BlobLock(const std::filesystem::path& file, const std::function<bool()>& stopped);
  ~BlobLock();
  BlobLock(const BlobLock&) = delete;
  BlobLock& operator=(const BlobLock&) = delete;

 private:
  int fd_;
};

// The bytes have the file's hash before they have the blob's name. REQUIRES: the blob's lock is
// held. Throws as Remote::read() does, after it was tried again where that may help; kInvalidData
// where the hash is another twice.
void download_blob(const Remote& remote, const std::string& repository, const std::string& commit,
                   const RemoteFile& file, const std::filesystem::path& blob,
                   const DownloadOptions& options);

}  // namespace fovea::hub
