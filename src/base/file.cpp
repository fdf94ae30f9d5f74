#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace fovea {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail_with_errno(std::string_view what, const std::filesystem::path& path) {
  const int code = errno;
  const auto kind = code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo;
  fail(kind, "[file] cannot {} '{}': {}", what, path.string(), std::strerror(code));
}

int open_regular(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_with_errno("open", path);
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    ::close(fd);
    fail(ErrorKind::kInvalidArgument, "[file] expected a file but got the folder '{}'",
         path.string());
  }
  return fd;
}

std::string read_all(int fd, const std::filesystem::path& name, size_t bytes_max) {
  std::string bytes;
  std::array<char, 65536> chunk;
  while (true) {
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with_errno("read", name);
    if (got == 0) return bytes;
    if (bytes.size() + static_cast<size_t>(got) > bytes_max) {
      fail(ErrorKind::kTooLarge, "[file] expected at most {} bytes in '{}' but got more", bytes_max,
           name.string());
    }
    bytes.append(chunk.data(), static_cast<size_t>(got));
  }
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& name) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_with_errno("write", name);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path, size_t bytes_max) {
  const Descriptor fd(open_regular(path));
  return read_all(fd.get(), path, bytes_max);
}

std::string read_standard_input(size_t bytes_max) {
  return read_all(STDIN_FILENO, "standard input", bytes_max);
}

void write_file_atomic(const std::filesystem::path& path, std::string_view bytes) {
  std::string draft = path.string() + ".XXXXXX";
  const Descriptor fd(::mkstemp(draft.data()));
  if (fd.get() < 0) fail_with_errno("write", path);
  try {
    write_all(fd.get(), bytes, path);
    if (::fchmod(fd.get(), 0644) != 0 || ::fsync(fd.get()) != 0 ||
        ::rename(draft.c_str(), path.c_str()) != 0) {
      fail_with_errno("write", path);
    }
  } catch (...) {
    ::unlink(draft.c_str());
    throw;
  }
}

std::shared_ptr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const Descriptor fd(open_regular(path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail_with_errno("read", path);
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0)
    fail(ErrorKind::kInvalidData, "[file] expected bytes in '{}' but it is empty", path.string());
  void* data =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd.get(), 0);
  if (data == MAP_FAILED) fail_with_errno("map", path);
  return std::shared_ptr<MappedFile>(new MappedFile(static_cast<std::byte*>(data), size));
}

MappedFile::~MappedFile() { ::munmap(data_, size_); }

std::filesystem::path path_inside(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path relative(name);
  bool leaves = name.empty() || relative.is_absolute();
  for (const auto& part : relative) leaves = leaves || part == "..";
  if (leaves) {
    fail(ErrorKind::kInvalidData, "[file] expected a name inside the folder '{}' but got '{}'",
         folder.string(), name);
  }
  return folder / relative;
}

}  // namespace fovea
