#include "limits.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/isa/isa.h"
#include "stopwatch.h"
#include "tile_peaks.h"

namespace fovea::bench {
namespace {

// Four sums at a time, so that loads wait for memory and not for an addition.
uint64_t sum_of(const uint64_t* words, size_t count) {
  uint64_t sums[4] = {};
  for (size_t i = 0; i < count; i += 4) {
    for (size_t j = 0; j < 4; ++j) sums[j] += words[i + j];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

double read_limit() {
  constexpr size_t kPieces = 64;
  const std::vector<uint64_t> memory(size_t{64} << 20, 1);  // 512 MB, beyond any cache
  const size_t piece = memory.size() / kPieces;
  std::vector<uint64_t> sums(kPieces);
  const double seconds = median_seconds([&] {
    parallel_for(kPieces, 1, [&](int begin, int end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        sums[i] = sum_of(memory.data() + i * piece, piece);
      }
    });
  });
  return double(memory.size()) * 8 / seconds / 1e9;
}

double flops_limit(double (*loop)(size_t rounds, float* sink)) {
  constexpr size_t kRounds = 2'000'000;
  const int threads = ThreadPool::instance().size();
  std::vector<double> operations(static_cast<size_t>(threads));
  std::vector<float> sinks(static_cast<size_t>(threads) * 64);  // a cache line apart and more
  const double seconds = median_seconds([&] {
    ThreadPool::instance().run(
        threads, [&](int i) { operations[i] = loop(kRounds, sinks.data() + i * 64); });
  });
  return std::accumulate(operations.begin(), operations.end(), 0.0) / seconds / 1e9;
}

}  // namespace

double Limits::peak_gflops() const { return std::max({fma_gflops, bf16_gflops, amx_gflops}); }

JsonObject Limits::json() const {
  JsonObject object;
  object.set("isa", kernels::isa::table().name)
      .set("threads", ThreadPool::instance().size())
      .set("read_gbytes_per_s", read_gbytes)
      .set("fma_gflops", fma_gflops)
      .set("bf16_gflops", bf16_gflops)
      .set("amx_gflops", amx_gflops)
      .set("peak_gflops", peak_gflops());
  return object;
}

Limits measure_limits() {
  return {read_limit(), flops_limit(kernels::isa::table().fma_flops), flops_limit(bf16_dot_flops),
          flops_limit(amx_bf16_flops)};
}

}  // namespace fovea::bench
