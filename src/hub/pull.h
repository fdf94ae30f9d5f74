// A model of a hub into this machine's cache, in the layout that huggingface_hub shares. One thread
// may call; it starts others for the transfer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/hub_cache.h"
#include "hub/download.h"

namespace fovea::hub {

struct PullOptions {
  // Shell patterns over a file's path; a star stops at a slash. Empty: what Fovea reads. Pickles
  // and code are never taken.
  std::vector<std::string> include;
  DownloadOptions download;
  // After pieces: bytes that are here, and all that are wanted. From any thread, one at a time.
  std::function<void(int64_t, int64_t)> progress = {};
};

struct Pulled {
  std::filesystem::path snapshot;
  std::string commit;
  int64_t bytes = 0;           // of all files
  int64_t bytes_received = 0;  // that came now
  int files = 0;
};

// The files of `model` that `patterns` name; see PullOptions::include.
std::vector<RemoteFile> wanted_files(const RemoteModel& model,
                                     const std::vector<std::string>& patterns);

// Every file has its hash before it appears, and the revision points to the snapshot when it is
// whole. Throws as Remote::model() and download_blob() do; kNotFound where no file is wanted,
// kUnsupported where weights are there but only pickled, kIo where the disk has too little room.
// What came so far stays for the next time.
Pulled pull(const Remote& remote, const HubModel& model, const PullOptions& options);

}  // namespace fovea::hub
