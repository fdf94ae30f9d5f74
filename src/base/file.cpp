#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

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

// Whoever named the file can name another; anything else is the system's doing.
bool is_about_the_name(int code) {
  return code == EACCES || code == EPERM || code == ELOOP || code == ENAMETOOLONG ||
         code == ENOTDIR || code == EINVAL;
}

// `what` is what should have been possible: "read", "write".
[[noreturn]] void fail_with_errno(std::string_view what, const std::filesystem::path& path) {
  const int code = errno;
  if (code == ENOENT) {
    fail(ErrorKind::kNotFound, "[file] expected a file but there is no '{}'", path.string());
  }
  fail(ErrorKind::kIo, "[file] expected to {} '{}' but got: {}", what, path.string(),
       std::strerror(code));
}

[[noreturn]] void fail_to_open(const std::filesystem::path& path) {
  const int code = errno;
  if (!is_about_the_name(code)) fail_with_errno("read", path);
  fail(ErrorKind::kInvalidArgument, "[file] expected a file that can be read but got '{}': {}",
       path.string(), std::strerror(code));
}

// A file, or a pipe that a shell made for one. Without O_NONBLOCK among `flags`, a pipe waits for
// its writer.
int open_for_reading(const std::filesystem::path& path, int flags = 0) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) fail_to_open(path);
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

size_t page_bytes() {
  static const auto bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// From the begin of the page that holds the first of these bytes to the last of them.
std::pair<void*, size_t> pages_around(std::span<const std::byte> bytes) {
  const size_t before = reinterpret_cast<uintptr_t>(bytes.data()) % page_bytes();
  return {const_cast<std::byte*>(bytes.data()) - before, bytes.size() + before};
}

// What is mapped now: other memory that were given back would be lost.
struct Mappings {
  std::mutex mutex;
  std::map<const std::byte*, size_t> sizes;  // by their begin

  static Mappings& all() {
    // Never destroyed: arrays may outlive everything static.
    static auto* mappings = new Mappings;
    return *mappings;
  }
};

}  // namespace

std::string read_file(const std::filesystem::path& path, size_t bytes_max) {
  const Descriptor fd(open_for_reading(path));
  return read_all(fd.get(), path, bytes_max);
}

std::string read_file(const InputFile& file, const std::string& name, size_t bytes_max) {
  const auto refuse = [&] {
    fail(ErrorKind::kTooLarge, "[file] expected at most {} bytes in '{}' but got more", bytes_max,
         name);
  };
  if (file.size() > bytes_max) refuse();
  std::string bytes(file.size(), '\0');
  bytes.resize(file.read_at(0, bytes.data(), bytes.size()));
  return bytes;
}

std::string read_standard_input(size_t bytes_max) {
  return read_all(STDIN_FILENO, "standard input", bytes_max);
}

std::shared_ptr<const InputFile> InputFile::open(const std::filesystem::path& path) {
  const int fd = open_for_reading(path, O_NONBLOCK);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return nullptr;
  }
  return std::shared_ptr<const InputFile>(
      new InputFile(fd, static_cast<uint64_t>(info.st_size), path.string()));
}

std::shared_ptr<const InputFile> InputFile::open_beneath(const std::filesystem::path& root,
                                                         const std::string& name) {
  const auto refuse = [&] {
    fail(ErrorKind::kNotFound, "[file] expected a file that may be read but got '{}'",
         printable(name));
  };
  if (name.find('\0') != std::string::npos) refuse();
  std::filesystem::path inside(name);
  if (inside.is_absolute()) {
    const std::string top = (root / "").lexically_normal().string();
    if (!name.starts_with(top)) refuse();
    inside = name.substr(top.size());
  }
  if (inside.empty() || inside.is_absolute()) refuse();
  // From folder to folder: a name that is swapped for a link meanwhile is not followed.
  int fd = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (auto part = inside.begin(); part != inside.end(); ++part) {
    const Descriptor folder(fd);
    const bool last = std::next(part) == inside.end();
    const int flags = last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY;
    if (fd < 0 || *part == "..") refuse();
    fd = ::openat(folder.get(), part->c_str(), flags | O_NOFOLLOW | O_CLOEXEC);
  }
  struct stat info {};
  if (fd < 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    const Descriptor nothing(fd);
    refuse();
  }
  return std::shared_ptr<const InputFile>(
      new InputFile(fd, static_cast<uint64_t>(info.st_size), name));
}

InputFile::InputFile(int fd, uint64_t size, std::string name)
    : fd_(fd), size_(size), name_(std::move(name)) {}

InputFile::~InputFile() { ::close(fd_); }

size_t InputFile::read_at(uint64_t offset, void* to, size_t count) const {
  size_t got = 0;
  while (got < count) {
    const ssize_t more =
        ::pread(fd_, static_cast<char*>(to) + got, count - got, static_cast<off_t>(offset + got));
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) fail_with_errno("read", name_);
    if (more == 0) break;
    got += static_cast<size_t>(more);
  }
  return got;
}

DraftFile::DraftFile(std::filesystem::path path) : path_(std::move(path)) {
  const std::string extension = path_.extension().string();
  std::string name = path_.string() + ".XXXXXX" + extension;
  fd_ = ::mkostemps(name.data(), static_cast<int>(extension.size()), O_CLOEXEC);
  if (fd_ < 0) fail_with_errno("write", path_);
  draft_ = std::move(name);
}

DraftFile::~DraftFile() {
  ::close(fd_);
  if (!published_) ::unlink(draft_.c_str());
}

void DraftFile::write(std::string_view bytes) { write_all(fd_, bytes, path_); }

void DraftFile::publish() {
  if (::fchmod(fd_, 0644) != 0 || ::fsync(fd_) != 0 ||
      ::rename(draft_.c_str(), path_.c_str()) != 0) {
    fail_with_errno("write", path_);
  }
  published_ = true;
}

void write_file_atomic(const std::filesystem::path& path, std::string_view bytes) {
  DraftFile file(path);
  file.write(bytes);
  file.publish();
}

std::shared_ptr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const Descriptor fd(open_for_reading(path, O_NONBLOCK));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail_with_errno("read", path);
  if (!S_ISREG(info.st_mode)) {
    fail(ErrorKind::kInvalidArgument, "[file] expected a file but '{}' is a pipe or a device",
         path.string());
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0)
    fail(ErrorKind::kInvalidData, "[file] expected bytes in '{}' but it is empty", path.string());
  void* data =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd.get(), 0);
  if (data == MAP_FAILED) fail_with_errno("map", path);
  return std::shared_ptr<MappedFile>(new MappedFile(static_cast<std::byte*>(data), size));
}

MappedFile::MappedFile(std::byte* data, size_t size) : data_(data), size_(size) {
  auto& mappings = Mappings::all();
  const std::lock_guard lock(mappings.mutex);
  mappings.sizes.emplace(data, size);
}

MappedFile::~MappedFile() {
  auto& mappings = Mappings::all();
  const std::lock_guard lock(mappings.mutex);
  mappings.sizes.erase(data_);
  ::munmap(data_, size_);
}

void MappedFile::give_back(std::span<const std::byte> bytes) {
  auto& mappings = Mappings::all();
  const std::lock_guard lock(mappings.mutex);
  auto found = mappings.sizes.upper_bound(bytes.data());
  if (found == mappings.sizes.begin()) return;
  --found;
  const auto end = bytes.data() + bytes.size();
  if (end > found->first + found->second) return;
  const size_t behind = reinterpret_cast<uintptr_t>(bytes.data()) % page_bytes();
  const size_t skipped = behind == 0 ? 0 : page_bytes() - behind;
  if (bytes.size() < skipped + page_bytes()) return;
  const size_t size = (bytes.size() - skipped) / page_bytes() * page_bytes();
  // What the system keeps costs memory and nothing else.
  ::madvise(const_cast<std::byte*>(bytes.data()) + skipped, size, MADV_DONTNEED);
}

size_t MappedFile::cached(std::span<const std::byte> bytes) {
  const auto [begin, size] = pages_around(bytes);
  std::vector<unsigned char> pages((size + page_bytes() - 1) / page_bytes());
  if (::mincore(begin, size, pages.data()) != 0) return bytes.size();
  const auto cached = std::count_if(pages.begin(), pages.end(), [](auto p) { return p & 1; });
  return std::min(bytes.size(), static_cast<size_t>(cached) * page_bytes());
}

void MappedFile::read_ahead(std::span<const std::byte> bytes,
                            const std::function<void(size_t bytes)>& progress) {
  constexpr size_t kPiece = size_t{4} << 20;
  constexpr size_t kAhead = 8;  // pieces that are asked for before one is waited for
  const auto ask = [&](size_t at) {
    if (at >= bytes.size()) return;
    const auto [begin, size] = pages_around(bytes.subspan(at, std::min(kPiece, bytes.size() - at)));
    ::madvise(begin, size, MADV_WILLNEED);
  };
  for (size_t i = 0; i < kAhead; ++i) ask(i * kPiece);
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    ask(at + kAhead * kPiece);
    const size_t end = std::min(bytes.size(), at + kPiece);
    // A page that is on its way is waited for.
    static_cast<void>(*static_cast<const volatile std::byte*>(bytes.data() + end - 1));
    progress(end);
  }
}

void require_room(std::string_view where, const std::filesystem::path& folder, int64_t bytes) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (error || static_cast<int64_t>(space.available) >= bytes) return;
  fail(ErrorKind::kIo, "[{}] expected {:.3g} GB of free disk but got {:.3g} GB", where,
       gigabytes(bytes), gigabytes(static_cast<int64_t>(space.available)));
}

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
