// What the engine tells about one request of a command: collected, streamed where that is wanted,
// with a progress line until the first token.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cli/progress_line.h"
#include "core/event.h"

namespace fovea::cli {

class Answer {
 public:
  // Text goes to `out` as it comes; null keeps it here alone. The rest as ProgressLine takes it.
  explicit Answer(std::FILE* out, int progress_fd = STDERR_FILENO,
                  std::chrono::milliseconds progress_interval = std::chrono::seconds(1));

  // The request's sink: on the engine thread.
  void take(const Event& event);

  // Waits for the end; calls `cancel` once when `stop` first says so. Throws what the request
  // failed with. Only afterwards may the members below be read.
  void wait(const std::function<bool()>& stop, const std::function<void()>& cancel);

  std::string text;
  std::vector<int32_t> token_ids;
  Finished finished;

 private:
  void on(const PrefillProgress& progress);
  void on(const TextDelta& delta);
  void on(const Finished& f);
  void on(const Failed& f);
  void end();

  std::FILE* out_;
  int progress_fd_;
  std::chrono::milliseconds progress_interval_;
  std::optional<ProgressLine> progress_;  // engine thread
  std::optional<Failed> failed_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool ended_ = false;
};

}  // namespace fovea::cli
