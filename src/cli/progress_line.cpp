#include "cli/progress_line.h"

#include <sys/ioctl.h>

#include <atomic>
#include <string_view>

#include "base/format.h"
#include "base/printable.h"

namespace fovea::cli {
namespace {

constexpr std::string_view kWipe = "\r\033[K";

// Of the line that is shown; -1 when there is none.
std::atomic<int> shown_fd{-1};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler reads it");

// The last column stays free: a cursor behind it would wrap.
size_t columns(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 79;
  return size.ws_col - 1u;
}

}  // namespace

void wipe_progress_line() noexcept {
  const int fd = shown_fd.exchange(-1);
  // A line that cannot be written is none.
  if (fd >= 0 && ::write(fd, kWipe.data(), kWipe.size()) < 0) return;
}

ProgressLine::ProgressLine(std::string what, int fd, std::chrono::milliseconds interval)
    : what_(std::move(what)), fd_(fd), interval_(interval) {
  if (::isatty(fd_)) thread_ = std::thread([this] { show(); });
}

ProgressLine::~ProgressLine() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (!thread_.joinable()) return;
  thread_.join();
  wipe_progress_line();
}

void ProgressLine::set(std::string what) {
  const std::lock_guard lock(mutex_);
  what_ = std::move(what);
}

void ProgressLine::show() {
  using std::chrono::seconds;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, interval_, [&] { return ending_; })) {
    const auto passed = std::chrono::steady_clock::now() - begin_;
    const auto count = std::chrono::duration_cast<seconds>(passed).count();
    const auto text = fmt::format("{} ({} s)", printable(what_), count).substr(0, columns(fd_));
    const std::string line = std::string(kWipe) + text;
    shown_fd = fd_;
    if (::write(fd_, line.data(), line.size()) < 0) return;
  }
}

}  // namespace fovea::cli
