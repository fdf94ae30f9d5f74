// Files as bytes. All functions throw Error with the path as the caller gave it: kNotFound,
// kInvalidArgument for a name that cannot be opened (a folder, no permission, too long, a loop of
// links), kIo for what the system refuses later. Any thread may call; a MappedFile is immutable and
// may be shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fovea {

// The whole file, or what a pipe gives until its end. Folders and missing files are errors;
// `bytes_max` bounds what is read (kTooLarge beyond it).
std::string read_file(const std::filesystem::path& path, size_t bytes_max = size_t{1} << 30);

// Standard input until its end.
std::string read_standard_input(size_t bytes_max = size_t{1} << 30);

// An open file that is read here and there, without mapping it: one that shrinks meanwhile ends
// early. Immutable; may be shared.
class InputFile {
 public:
  // Null where `path` is no regular file but a pipe, which is read from its begin to its end.
  static std::shared_ptr<const InputFile> open(const std::filesystem::path& path);
  // A regular file beneath `root`, named from there or from the top. No ".." and no link on the way
  // is followed, however the folder changes meanwhile. What is not there, is forbidden or is no
  // regular file is the same Error(kNotFound), with `name` as it was given.
  static std::shared_ptr<const InputFile> open_beneath(const std::filesystem::path& root,
                                                       const std::string& name);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  // As many bytes from `offset` as there are, at most `count`; 0 behind the end.
  size_t read_at(uint64_t offset, void* to, size_t count) const;

 private:
  InputFile(int fd, uint64_t size, std::string name);
  int fd_;
  uint64_t size_;
  std::string name_;
};

// The whole of an open file.
std::string read_file(const InputFile& file, const std::string& name, size_t bytes_max);

// A new file beside `path`, under a name of its own with the same ending, that takes the place of
// `path` when it is published: a reader sees the old bytes or the new ones. Never published, it is
// gone when this is. One thread at a time.
class DraftFile {
 public:
  explicit DraftFile(std::filesystem::path path);
  ~DraftFile();
  DraftFile(const DraftFile&) = delete;
  DraftFile& operator=(const DraftFile&) = delete;

  const std::filesystem::path& draft() const { return draft_; }
  void write(std::string_view bytes);
  void publish();  // syncs and renames

 private:
  std::filesystem::path path_;
  std::filesystem::path draft_;
  int fd_ = -1;
  bool published_ = false;
};

// The whole of a DraftFile's life.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

// A regular file mapped into memory, private and writable: an array library may take over the
// memory of an array that it holds alone, as when weights are trained. Such pages become ours
// alone; the file never changes.
class MappedFile {
 public:
  static std::shared_ptr<MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Gives the whole pages of these bytes back to the system, which reads them again from the file
  // (as a rule from its cache) when they are next touched. Does nothing unless all of them lie in
  // one MappedFile. REQUIRES: nobody has written to them, or that is lost.
  static void give_back(std::span<const std::byte> bytes);

  // How many of these bytes, of mapped files, the system holds in its cache; all where it does not
  // say.
  static size_t cached(std::span<const std::byte> bytes);

  // Has the system read these bytes from the disk, in large pieces and in order, and waits: far
  // faster than touching pages here and there. `progress` is told how many have come.
  static void read_ahead(std::span<const std::byte> bytes,
                         const std::function<void(size_t bytes)>& progress);

 private:
  MappedFile(std::byte* data, size_t size);
  std::byte* data_;
  size_t size_;
};

// Throws Error(kIo) "[where] expected ... GB of free disk but got ..." where the folder's disk has
// less room than `bytes`; says nothing of a disk that does not tell.
void require_room(std::string_view where, const std::filesystem::path& folder, int64_t bytes);

// `folder / name`, refused (kInvalidData) when `name` is absolute or leads out of `folder`.
std::filesystem::path path_inside(const std::filesystem::path& folder, const std::string& name);

}  // namespace fovea
