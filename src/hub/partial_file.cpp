#include "hub/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& name) {
  fail(ErrorKind::kIo, "[hub] expected to write '{}' but got: {}", name, std::strerror(errno));
}

fs::path data_of(const fs::path& blob) { return blob.string() + ".fovea-part"; }

int open_or_make(const fs::path& path, const std::string& name) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) refuse(name);
  return fd;
}

void write_at(int fd, int64_t at, std::span<const std::byte> bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) refuse(name);
    at += put;
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

}  // namespace

int64_t PartialFile::bytes_on_disk(const fs::path& blob) {
  struct stat info {};
  const bool there = ::stat(data_of(blob).c_str(), &info) == 0;
  return there ? int64_t{info.st_blocks} * 512 : 0;  // chunks that are missing are holes
}

PartialFile::PartialFile(const fs::path& blob, int64_t bytes, int64_t chunk_bytes)
    : name_(blob.filename().string()),
      blob_(blob),
      data_(data_of(blob)),
      list_(blob.string() + ".fovea-list"),
      heading_(fmt::format("fovea 1 {} {}\n", bytes, chunk_bytes)),
      bytes_(bytes),
      chunk_bytes_(chunk_bytes),
      chunks_(static_cast<size_t>((bytes + chunk_bytes - 1) / chunk_bytes), State::kMissing) {
  const bool goes_on = read_states();
  if (!goes_on) discard();
  data_fd_ = open_or_make(data_, name_);
  list_fd_ = open_or_make(list_, name_);
  if (!goes_on) write_at(list_fd_, 0, std::as_bytes(std::span(heading_)), name_);
}

PartialFile::~PartialFile() {
  ::close(data_fd_);
  ::close(list_fd_);
}

// The list is for these bytes, and every chunk that it calls whole is within the data.
bool PartialFile::read_states() {
  std::error_code error;
  if (!fs::is_regular_file(data_, error) || !fs::is_regular_file(list_, error)) return false;
  const std::string list = read_file(list_);
  if (!list.starts_with(heading_) || list.size() > heading_.size() + chunks_.size()) return false;
  const auto size = static_cast<int64_t>(fs::file_size(data_));
  for (size_t i = heading_.size(); i < list.size(); ++i) {
    const size_t chunk = i - heading_.size();
    if (list[i] != static_cast<char>(State::kWhole)) continue;
    const int64_t end = static_cast<int64_t>(chunk) * chunk_bytes_ + chunk_size(chunk);
    if (end <= size) chunks_[chunk] = State::kWhole;
  }
  return true;
}

int64_t PartialFile::chunk_size(size_t index) const {
  return std::min(chunk_bytes_, bytes_ - static_cast<int64_t>(index) * chunk_bytes_);
}

std::optional<PartialFile::Range> PartialFile::take(int64_t chunks_max) {
  const std::lock_guard lock(mutex_);
  const auto first = std::find(chunks_.begin(), chunks_.end(), State::kMissing);
  if (first == chunks_.end()) return std::nullopt;
  auto last = first;
  while (last != chunks_.end() && *last == State::kMissing && last - first < chunks_max) {
    *last++ = State::kTaken;
  }
  return Range{(first - chunks_.begin()) * chunk_bytes_,
               std::min(bytes_, (last - chunks_.begin()) * chunk_bytes_)};
}

void PartialFile::give_back(const Range& range) {
  const std::lock_guard lock(mutex_);
  for (int64_t at = range.begin; at < range.end; at += chunk_bytes_) {
    State& state = chunks_[static_cast<size_t>(at / chunk_bytes_)];
    if (state == State::kTaken) state = State::kMissing;
  }
}

void PartialFile::write(int64_t begin, int64_t at, std::span<const std::byte> bytes) {
  write_at(data_fd_, at, bytes, name_);
  const int64_t end = at + static_cast<int64_t>(bytes.size());
  const std::lock_guard lock(mutex_);
  for (auto i = static_cast<size_t>(std::max(begin, at - chunk_bytes_ + 1) / chunk_bytes_);
       i < chunks_.size() && static_cast<int64_t>(i) * chunk_bytes_ + chunk_size(i) <= end; ++i) {
    if (chunks_[i] == State::kWhole) continue;
    chunks_[i] = State::kWhole;
    const auto mark = std::byte{static_cast<unsigned char>(State::kWhole)};
    write_at(list_fd_, static_cast<int64_t>(heading_.size() + i), {&mark, 1}, name_);
  }
}

int64_t PartialFile::bytes_present() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (size_t i = 0; i < chunks_.size(); ++i) {
    if (chunks_[i] == State::kWhole) bytes += chunk_size(i);
  }
  return bytes;
}

void PartialFile::publish() {
  assert(bytes_present() == bytes_);
  if (::fsync(data_fd_) != 0 || ::rename(data_.c_str(), blob_.c_str()) != 0) refuse(name_);
  ::unlink(list_.c_str());
}

void PartialFile::discard() {
  std::error_code ignored;
  fs::remove(list_, ignored);
  fs::remove(data_, ignored);
}

}  // namespace fovea::hub
