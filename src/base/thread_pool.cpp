#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/cores.h"
#include "base/error.h"
#include "base/number.h"

namespace fovea {
namespace {

constexpr auto kSpinTime = std::chrono::microseconds(50);  // about two futex wake-ups
constexpr int kPausesPerLook = 32;
constexpr int kPausesBeforeYield = 2000;

std::atomic<int> wanted_threads{0};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
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
  if (!text) return std::min(usable_cores(), kThreadsMax);
  return parse_number("FOVEA_THREADS", text, 1, kThreadsMax);
}

}  // namespace

struct ThreadPool::State {
  // The gate says which loop runs, whether it still takes workers, and how many are inside. A
  // worker that wakes late finds it shut and goes on waiting, so no loop waits for a sleeper.
  static constexpr uint64_t kInside = (uint64_t{1} << 16) - 1;
  static constexpr uint64_t kOpen = uint64_t{1} << 16;
  static constexpr uint64_t kLoop = uint64_t{1} << 17;  // and all bits above: the loop's number

  std::mutex caller;  // held by whoever runs a loop
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> workers;
  std::atomic<uint64_t> gate{0};
  std::atomic<bool> stop{false};
  // Of the present loop; written while the gate is shut and nobody is inside.
  std::atomic<int> next{0};
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

  bool has_news(uint64_t seen) const {
    const uint64_t now = gate.load(std::memory_order_acquire);
    return stop.load(std::memory_order_relaxed) || ((now & kOpen) && now / kLoop != seen);
  }

  // Waits for an open loop other than `seen`, or the pool's end.
  void wait(uint64_t seen) {
    const auto end = std::chrono::steady_clock::now() + kSpinTime;
    do {
      for (int i = 0; i < kPausesPerLook; ++i) {
        if (has_news(seen)) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < end);
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return has_news(seen); });
  }

  // Enters the open loop; false when it was shut meanwhile.
  bool enter(uint64_t& seen) {
    uint64_t now = gate.load(std::memory_order_acquire);
    while ((now & kOpen) && now / kLoop != seen) {
      if (!gate.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) continue;
      seen = now / kLoop;
      return true;
    }
    return false;
  }

  void open() {
    {
      const std::lock_guard lock(mutex);
      gate.store((gate.load() / kLoop + 1) * kLoop | kOpen, std::memory_order_release);
    }
    wake.notify_all();
  }

  // Shuts the gate and waits until everyone is out.
  void close() {
    gate.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int i = 0; (gate.load(std::memory_order_acquire) & kInside) != 0; ++i) {
      if (i < kPausesBeforeYield) {
        pause();
      } else {
        std::this_thread::yield();  // more threads than cores: let the worker finish
      }
    }
  }
};

ThreadPool& ThreadPool::instance() {
  // Never destroyed: array work may still run on MLX's threads while the process ends.
  static auto* pool = new ThreadPool(initial_thread_count());
  return *pool;
}

void ThreadPool::set_thread_count(int threads) { wanted_threads.store(checked(threads)); }

ThreadPool::ThreadPool(int threads)
    : state_(std::make_unique<State>()), threads_(checked(threads)) {
  try {
    for (int i = 1; i < threads_; ++i) state_->workers.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    const size_t started = state_->workers.size();
    end_workers();
    fail(ErrorKind::kIo, "[threads] expected room for {} threads but got {}: {}", threads_,
         started + 1, error.what());
  }
}

ThreadPool::~ThreadPool() { end_workers(); }

void ThreadPool::end_workers() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop.store(true);
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

void ThreadPool::work() {
  uint64_t seen = 0;
  while (!state_->stop.load()) {
    state_->wait(seen);
    if (!state_->enter(seen)) continue;
    state_->take_tasks();
    state_->gate.fetch_sub(1, std::memory_order_acq_rel);
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
  state.open();
  state.take_tasks();
  state.close();
  if (state.failure) std::rethrow_exception(std::exchange(state.failure, nullptr));
}

void parallel_for(int count, int grain, const std::function<void(int, int)>& body) {
  auto& pool = ThreadPool::instance();
  int pieces = std::clamp(count / std::max(1, grain), 1, pool.size() * 4);
  // As many for each thread: larger pieces cost less than a thread that waits.
  if (pieces > pool.size()) pieces -= pieces % pool.size();
  if (pieces == 1 || pool.size() == 1) return body(0, count);
  pool.run(pieces, [&](int piece) {
    const auto at = [&](int i) { return static_cast<int>(int64_t{count} * i / pieces); };
    body(at(piece), at(piece + 1));
  });
}

}  // namespace fovea
