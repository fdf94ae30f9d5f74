// A file on its way into the cache, in chunks that may come in any order and outlive the process:
// beside the blob lie its bytes and a list of the chunks that are whole. Threads may write at the
// same time; one process at a time, which is the one that holds the blob's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fovea::hub {

class PartialFile {
 public:
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };

  // Goes on with what is there when it was begun for as many bytes, else begins anew. Throws
  // Error(kIo) here and below where the disk does not take the bytes.
  PartialFile(const std::filesystem::path& blob, int64_t bytes, int64_t chunk_bytes);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  // What an earlier run left of the blob takes on the disk.
  static int64_t bytes_on_disk(const std::filesystem::path& blob);

  // Chunks in a row, at most so many, that are missing and that nobody else has taken; nothing when
  // there are none.
  std::optional<Range> take(int64_t chunks_max);

  // Of a range that was taken, the chunks that did not come: others may take them.
  void give_back(const Range& range);

  // Bytes of a stream that began at `begin`, where a chunk begins, and stands at `at`.
  void write(int64_t begin, int64_t at, std::span<const std::byte> bytes);

  int64_t bytes_present() const;

  // Syncs the bytes and gives them the blob's name. REQUIRES: nothing is missing.
  void publish();
  // Removes what is there.
  void discard();

  const std::filesystem::path& data() const { return data_; }

 private:
  enum class State : char { kMissing = '0', kWhole = '1', kTaken = '2' };

  bool read_states();
  int64_t chunk_size(size_t index) const;

  std::string name_;
  std::filesystem::path blob_;
  std::filesystem::path data_;
  std::filesystem::path list_;
  std::string heading_;  // of the list: what it is for
  int64_t bytes_;
  int64_t chunk_bytes_;
  int data_fd_ = -1;
  int list_fd_ = -1;
  mutable std::mutex mutex_;
  std::vector<State> chunks_;
};

}  // namespace fovea::hub
