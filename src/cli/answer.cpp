#include "cli/answer.h"

#include "base/error.h"

namespace fovea::cli {

Answer::Answer(std::FILE* out, int progress_fd, std::chrono::milliseconds progress_interval)
    : out_(out), progress_fd_(progress_fd), progress_interval_(progress_interval) {}

void Answer::take(const Event& event) {
  std::visit([this](const auto& e) { on(e); }, event);
}

void Answer::wait(const std::function<bool()>& stop, const std::function<void()>& cancel) {
  std::unique_lock lock(mutex_);
  bool told = false;
  while (!done_.wait_for(lock, std::chrono::milliseconds(50), [&] { return ended_; })) {
    if (told || !stop()) continue;
    told = true;
    lock.unlock();
    cancel();
    lock.lock();
  }
  if (failed_) throw Error(failed_->kind, failed_->message);
}

// The last of them wipes the line, so that nothing is written over the text.
void Answer::on(const PrefillProgress& progress) {
  std::string what = fmt::format("Reading the prompt {}/{}", progress.done, progress.total);
  if (progress.done >= progress.total) {
    progress_.reset();
  } else if (progress_) {
    progress_->set(std::move(what));
  } else {
    progress_.emplace(std::move(what), progress_fd_, progress_interval_);
  }
}

void Answer::on(const TextDelta& delta) {
  text += delta.text;
  token_ids.insert(token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
  if (!out_ || delta.text.empty()) return;
  std::fwrite(delta.text.data(), 1, delta.text.size(), out_);
  std::fflush(out_);
}

void Answer::on(const Finished& f) {
  finished = f;
  end();
}

void Answer::on(const Failed& f) {
  failed_ = f;
  end();
}

void Answer::end() {
  progress_.reset();
  const std::lock_guard lock(mutex_);
  ended_ = true;
  done_.notify_all();
}

}  // namespace fovea::cli
