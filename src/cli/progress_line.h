// A line that says what takes long, while this lives: on terminals only, after a while, rewritten
// in place with the seconds passed, cut to the terminal's width, and wiped at the end. One at a
// time; any thread may call.
#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace fovea::cli {

class ProgressLine {
 public:
  // Writes to the descriptor `fd` every `interval`.
  explicit ProgressLine(std::string what, int fd = STDERR_FILENO,
                        std::chrono::milliseconds interval = std::chrono::seconds(1));
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void set(std::string what);

 private:
  void show();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string what_;
  int fd_;
  std::chrono::milliseconds interval_;
  bool ending_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::thread thread_;
};

// Wipes the line that is shown, if any. A signal handler may call.
void wipe_progress_line() noexcept;

}  // namespace fovea::cli
