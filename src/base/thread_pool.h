// Threads that wait for loops to share. One pool for the process, made on first use; workers spin
// for 50 microseconds after a job, since the next one usually follows at once, then park. A loop
// never waits for a worker that has not woken yet: whoever is awake does the work.
#pragma once

#include <functional>
#include <memory>

namespace fovea {

inline constexpr int kThreadsMax = 256;

class ThreadPool {
 public:
  // The process's pool. Its size is set_thread_count()'s, else FOVEA_THREADS, else usable_cores().
  static ThreadPool& instance();

  // A bad FOVEA_THREADS or a number outside [1, 256] is Error(kInvalidArgument). Takes effect when
  // called before the first use of instance().
  static void set_thread_count(int threads);

  // Threads that cannot be had are Error(kIo).
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return threads_; }

  // Calls task(i) for every i in [0, tasks), on the caller and the workers, and returns when all
  // are done. The first exception is thrown again here; the tasks that had not begun are then
  // skipped. One loop runs at a time; a second caller waits. A task must not call run().
  void run(int tasks, const std::function<void(int)>& task);

 private:
  struct State;
  void work();
  void end_workers();
  std::unique_ptr<State> state_;
  int threads_;
};

// Calls body(begin, end) over [0, count) on the process's pool, in pieces of at least `grain`. What
// a piece holds must not matter to the result. A body must not call it again; what a body throws is
// thrown here, as by run().
void parallel_for(int count, int grain, const std::function<void(int, int)>& body);

}  // namespace fovea
