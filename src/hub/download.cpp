#include "hub/download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "hub/digest.h"
#include "hub/partial_file.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRequestChunksMax = 16;

[[noreturn]] void refuse_stopped() {
  fail(ErrorKind::kCancelled, "[hub] expected to go on but was stopped");
}

[[noreturn]] void refuse_lock(const fs::path& file, int code) {
  fail(ErrorKind::kIo, "[hub] expected to lock '{}' but got: {}", file.filename().string(),
       std::strerror(code));
}

// The connections of one file.
class Transfer {
 public:
  Transfer(const Remote& remote, const std::string& repository, const std::string& commit,
           const RemoteFile& file, PartialFile& partial, const DownloadOptions& options)
      : remote_(remote),
        repository_(repository),
        commit_(commit),
        file_(file),
        partial_(partial),
        options_(options) {}

  void run() {
    const int64_t missing = file_.bytes - partial_.bytes_present();
    const int64_t share = missing / options_.connections / options_.chunk_bytes + 1;
    chunks_max_ = std::min(share, kRequestChunksMax);
    std::vector<std::thread> others;
    if (missing > options_.chunk_bytes) {
      for (int i = 1; i < options_.connections; ++i) {
        others.emplace_back([this] { guard(Role::kOther); });
      }
    }
    guard(Role::kFirst);
    for (auto& other : others) other.join();
    // What others gave back after the first had found nothing to take.
    guard(Role::kFirst);
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  // Where the server ignores ranges, the first connection alone goes on.
  enum class Role { kFirst, kOther };

  void guard(Role role) {
    if (failed_) return;
    try {
      while (auto range = partial_.take(chunks_max_)) {
        if (fetch(*range, role)) continue;
        partial_.give_back(*range);
        return;
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      failed_ = true;
    }
  }

  bool stopped() const { return failed_ || (options_.stopped && options_.stopped()); }

  // False where the range came to nothing because another connection reads the whole file.
  bool fetch(const PartialFile::Range& range, Role role) {
    int64_t at = range.begin;
    int64_t before = at;
    bool left = false;
    const auto take = [&](int64_t from, std::span<const std::byte> bytes) {
      if (stopped()) refuse_stopped();
      const int64_t end = from + static_cast<int64_t>(bytes.size());
      const bool whole_file = from < at || end > range.end;
      left = whole_file && role == Role::kOther;
      if (left) return false;
      partial_.write(whole_file ? 0 : range.begin, from, bytes);
      if (options_.received && end > at) options_.received(end - std::max(from, at));
      at = std::max(at, end);
      return true;
    };
    with_retries(
        [&] {
          before = at;
          while (at < range.end && !left) {
            const int64_t begin = at;
            remote_.read(repository_, commit_, file_, at, range.end, take);
            if (at == begin && !left) {
              throw PassingError(
                  ErrorKind::kIo,
                  fmt::format("[hub] expected bytes of '{}' but got none", file_.path));
            }
          }
        },
        [&] { return at > before; }, [this] { return stopped(); });
    return !left;
  }

  const Remote& remote_;
  const std::string& repository_;
  const std::string& commit_;
  const RemoteFile& file_;
  PartialFile& partial_;
  const DownloadOptions& options_;
  int64_t chunks_max_ = 1;  // of one request
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

BlobLock::BlobLock(const fs::path& file, const std::function<bool()>& stopped) {
  std::error_code ignored;
  fs::create_directories(file.parent_path(), ignored);
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) refuse_lock(file, errno);
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    const bool passes = code == EWOULDBLOCK || code == EINTR;
    const bool ends = stopped && stopped();
    if (!passes || ends) ::close(fd_);
    if (!passes) refuse_lock(file, code);
    if (ends) refuse_stopped();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

BlobLock::~BlobLock() { ::close(fd_); }

void download_blob(const Remote& remote, const std::string& repository, const std::string& commit,
                   const RemoteFile& file, const fs::path& blob, const DownloadOptions& options) {
  constexpr int kTries = 2;
  for (int i = 1;; ++i) {
    PartialFile partial(blob, file.bytes, options.chunk_bytes);
    if (options.found) options.found(partial.bytes_present());
    Transfer(remote, repository, commit, file, partial, options).run();
    const std::string digest = digest_of(partial.data(), file.digest);
    if (digest == file.digest) return partial.publish();
    partial.discard();
    if (options.found) options.found(-file.bytes);
    if (i < kTries) continue;
    fail(ErrorKind::kInvalidData, "[hub] expected '{}' of '{}' with the hash {} but got {}",
         file.path, repository, file.digest, digest);
  }
}

}  // namespace fovea::hub
