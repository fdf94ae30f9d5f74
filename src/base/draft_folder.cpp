#include "base/draft_folder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/error.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMark = ".partial-";

[[noreturn]] void refuse(const std::string& name) {
  fail(ErrorKind::kIo, "[file] expected to write '{}' but got: {}", name, std::strerror(errno));
}

[[noreturn]] void refuse(const std::string& name, const std::error_code& error) {
  fail(ErrorKind::kIo, "[file] expected to write '{}' but got: {}", name, error.message());
}

[[noreturn]] void refuse_taken(const std::string& name) {
  fail(ErrorKind::kInvalidArgument, "[file] expected a name that is free but '{}' exists", name);
}

// Open and locked; -1 where it is not there or, with LOCK_NB as `flag`, another process has it.
int lock_folder(const fs::path& folder, int flag) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  if (::flock(fd, LOCK_EX | flag) == 0) return fd;
  ::close(fd);
  return -1;
}

void remove_left_behind(const fs::path& path) {
  const std::string begin = path.filename().string() + kMark;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), ignored)) {
    if (!entry.path().filename().string().starts_with(begin)) continue;
    const int lock = lock_folder(entry.path(), LOCK_NB);
    if (lock < 0) continue;
    fs::remove_all(entry.path(), ignored);
    ::close(lock);
  }
}

void sync(const fs::path& path, const std::string& name) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool good = fd >= 0 && ::fsync(fd) == 0;
  const int code = errno;
  if (fd >= 0) ::close(fd);
  errno = code;
  if (!good) refuse(name);
}

// As RENAME_NOREPLACE does it, which NFS and many FUSE file systems do not know: those are asked
// whether the name is free first. What takes the name between the two is kept if it is a file or a
// folder that has something in it.
int rename_to_free_name(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return -1;
  struct stat info {};
  if (::lstat(to.c_str(), &info) == 0) errno = EEXIST;
  return errno == ENOENT ? ::rename(from.c_str(), to.c_str()) : -1;
}

// Without its last slash, and with a folder before it.
fs::path plain(const fs::path& path) {
  fs::path absolute = fs::absolute(path).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

}  // namespace

DraftFolder::DraftFolder(const fs::path& path) : name_(path.string()), path_(plain(path)) {
  std::error_code error;
  if (fs::symlink_status(path_, error).type() != fs::file_type::not_found) refuse_taken(name_);
  fs::create_directories(path_.parent_path(), error);
  // Nobody takes a folder for one that was left while its maker has not locked it yet.
  const int parent = lock_folder(path_.parent_path(), 0);
  remove_left_behind(path_);
  std::string name = path_.string() + kMark + "XXXXXX";
  const bool made = ::mkdtemp(name.data()) != nullptr;
  const int code = errno;
  if (made) lock_ = lock_folder(name, LOCK_NB);
  if (parent >= 0) ::close(parent);
  if (!made) {
    fail(ErrorKind::kInvalidArgument, "[file] expected a folder that can be written for '{}': {}",
         name_, std::strerror(code));
  }
  draft_ = std::move(name);
}

DraftFolder::~DraftFolder() {
  std::error_code ignored;
  if (!published_) fs::remove_all(draft_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

void DraftFolder::publish() {
  std::error_code error;
  fs::recursive_directory_iterator entry(draft_, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    sync(entry->path(), name_);
  }
  if (error) refuse(name_, error);
  if (::chmod(draft_.c_str(), 0755) != 0) refuse(name_);
  sync(draft_, name_);
  if (rename_to_free_name(draft_, path_) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) refuse_taken(name_);
    refuse(name_);
  }
  published_ = true;
  sync(path_.parent_path(), name_);
}

}  // namespace fovea
