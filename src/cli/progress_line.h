// A line on standard error that says what takes long: terminals only, after a second, rewritten in
// place and wiped at the end. Any thread may call.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace fovea::cli {

class ProgressLine {
 public:
  explicit ProgressLine(std::string what);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void set(std::string what);

 private:
  void show();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string what_;
  bool ending_ = false;
  bool shown_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::thread thread_;
};

}  // namespace fovea::cli
