#include "base/thread_pool.h"

#include <sched.h>

#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace fovea {
namespace {

constexpr int kThreadsMax = 256;
constexpr int kSpins = 4000;  // some 10 microseconds

std::atomic<int> wanted_threads{0};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int allowed_processors() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

int checked(int threads) {
  if (threads < 1 || threads > kThreadsMax) {
    fail(ErrorKind::kInvalidArgument, "[threads] expected a number from 1 to {} but got {}",
         kThreadsMax, threads);
  }
  return threads;
}

int initial_thread_count() {
  if (const int wanted = wanted_threads.load()) return wanted;
  const char* text = std::getenv("FOVEA_THREADS");
  if (!text) return std::min(std::max(1, allowed_processors()), kThreadsMax);
  int threads = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, threads);
  if (error != std::errc() || rest != end) {
    fail(ErrorKind::kInvalidArgument, "[threads] expected a number in FOVEA_THREADS but got '{}'",
         text);
  }
  return checked(threads);
}

}  // namespace

struct ThreadPool::State {
  std::mutex caller;  // held by whoever runs a loop
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> workers;
  std::atomic<uint64_t> epoch{0};  // odd steps do not occur: one step a loop
  std::atomic<bool> stop{false};
  std::atomic<int> next{0};
  std::atomic<int> busy{0};
  int tasks = 0;
  const std::function<void(int)>* task = nullptr;
  std::mutex failure_mutex;
  std::exception_ptr failure;

  void take_tasks() {
    for (int i = next.fetch_add(1); i < tasks; i = next.fetch_add(1)) {
      try {
        (*task)(i);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        next.store(tasks);
      }
    }
  }

  // Waits for a loop newer than `seen`; false when the pool ends.
  bool wait(uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (epoch.load(std::memory_order_acquire) != seen || stop.load()) return !stop.load();
      pause();
    }
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return epoch.load(std::memory_order_acquire) != seen || stop.load(); });
    return !stop.load();
  }
};

ThreadPool& ThreadPool::instance() {
  // Never destroyed: array work may still run on MLX's threads while the process ends.
  static auto* pool = new ThreadPool(initial_thread_count());
  return *pool;
}

void ThreadPool::set_thread_count(int threads) { wanted_threads.store(checked(threads)); }

ThreadPool::ThreadPool(int threads) : state_(new State), threads_(checked(threads)) {
  for (int i = 1; i < threads_; ++i) state_->workers.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop.store(true);
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
  delete state_;
}

void ThreadPool::work() {
  uint64_t seen = 0;
  while (state_->wait(seen)) {
    seen = state_->epoch.load(std::memory_order_acquire);
    state_->take_tasks();
    state_->busy.fetch_sub(1, std::memory_order_acq_rel);
  }
}

void ThreadPool::run(int tasks, const std::function<void(int)>& task) {
  if (tasks <= 0) return;
  const std::lock_guard caller(state_->caller);
  if (threads_ == 1 || tasks == 1) {
    for (int i = 0; i < tasks; ++i) task(i);
    return;
  }
  State& state = *state_;
  state.tasks = tasks;
  state.task = &task;
  state.next.store(0);
  state.busy.store(threads_ - 1);
  {
    const std::lock_guard lock(state.mutex);
    state.epoch.fetch_add(1, std::memory_order_release);
  }
  state.wake.notify_all();
  state.take_tasks();
  // Every worker takes part in every loop, so that none can still look at an old one.
  while (state.busy.load(std::memory_order_acquire) != 0) pause();
  if (state.failure) std::rethrow_exception(std::exchange(state.failure, nullptr));
}

}  // namespace fovea
