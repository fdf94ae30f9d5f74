#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/expect_error.h"

namespace fovea {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      const int tasks = round % 17;
      std::vector<std::atomic<int>> counts(17);
      pool.run(tasks, [&](int i) { counts[i].fetch_add(1); });
      for (int i = 0; i < 17; ++i) ASSERT_EQ(counts[i].load(), i < tasks ? 1 : 0);
    }
  }
}

TEST(ThreadPool, WakesAfterParking) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> sum{0};
    pool.run(10, [&](int i) { sum += i; });
    EXPECT_EQ(sum.load(), 45);
  }
}

TEST(ThreadPool, ALoopEndsOnlyWhenItsWorkersAreOut) {
  // The task dies with each round: a worker that still looked at it would be found by a sanitizer.
  ThreadPool pool(4);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int> written(7, 0);
    pool.run(7, [&](int i) { written[static_cast<size_t>(i)] = round; });
    for (const int value : written) ASSERT_EQ(value, round);
    if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

TEST(ThreadPool, EndsWhileWorkersSpinOrSleep) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3);
    if (round % 2 == 0) pool.run(3, [](int) {});
  }
}

TEST(ThreadPool, ThrowsTheFirstFailureAndLivesOn) {
  ThreadPool pool(2);
  EXPECT_ERROR(pool.run(8,
                        [](int i) {
                          if (i == 3) fail(ErrorKind::kInvalidData, "[task] number {}", i);
                        }),
               ErrorKind::kInvalidData, "[task] number 3");
  std::atomic<int> count{0};
  pool.run(8, [&](int) { ++count; });
  EXPECT_EQ(count.load(), 8);
}

TEST(ThreadPool, CallersFromSeveralThreadsTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) pool.run(5, [&](int) { ++total; });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(total.load(), 4 * 50 * 5);
}

TEST(ThreadPool, RefusesSillySizes) {
  EXPECT_ERROR(ThreadPool(0), ErrorKind::kInvalidArgument, "from 1 to 256");
  EXPECT_ERROR(ThreadPool::set_thread_count(257), ErrorKind::kInvalidArgument, "257");
}

TEST(ParallelFor, CoversEveryNumberOnce) {
  for (const int count : {0, 1, 7, 1000}) {
    for (const int grain : {0, 1, 3, 5000}) {
      std::vector<std::atomic<int>> counts(1000);
      parallel_for(count, grain, [&](int begin, int end) {
        EXPECT_LE(begin, end);
        for (int i = begin; i < end; ++i) counts[static_cast<size_t>(i)].fetch_add(1);
      });
      for (int i = 0; i < 1000; ++i) ASSERT_EQ(counts[static_cast<size_t>(i)], i < count ? 1 : 0);
    }
  }
}

}  // namespace
}  // namespace fovea
