#include "cli/progress_line.h"

#include <unistd.h>

#include <cstdio>

namespace fovea::cli {

ProgressLine::ProgressLine(std::string what) : what_(std::move(what)) {
  if (::isatty(STDERR_FILENO)) thread_ = std::thread([this] { show(); });
}

ProgressLine::~ProgressLine() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (shown_) std::fputs("\r\033[K", stderr);
}

void ProgressLine::set(std::string what) {
  const std::lock_guard lock(mutex_);
  what_ = std::move(what);
}

void ProgressLine::show() {
  using std::chrono::seconds;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, seconds(1), [&] { return ending_; })) {
    const auto passed = std::chrono::steady_clock::now() - begin_;
    const auto count = std::chrono::duration_cast<seconds>(passed).count();
    std::fprintf(stderr, "\r\033[K%s (%lld s)", what_.c_str(), static_cast<long long>(count));
    shown_ = true;
  }
}

}  // namespace fovea::cli
