// How fast are the kernels, and what share of this machine's limits is that? Limits are measured in
// the same run: reading memory, and fused multiply-adds that stay in registers. Prints one JSON
// object a line; medians of many runs.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <numeric>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/isa/isa.h"
#include "kernels/matmul.h"
#include "kernels/op.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace {

using namespace fovea;
using namespace fovea::kernels;
namespace mx = mlx::core;

double median_seconds(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (times.size() < 9 || Clock::now() - begin < std::chrono::milliseconds(300)) {
    const auto start = Clock::now();
    work();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void print(const std::string& name, double milliseconds, double rate, const char* unit,
           double limit) {
  JsonObject line;
  line.set("name", name)
      .set("ms", milliseconds)
      .set(unit, rate)
      .set("share_of_limit", rate / limit);
  std::printf("%s\n", line.dump().c_str());
}

double read_limit() {
  std::vector<uint64_t> memory(size_t{64} << 20, 1);  // 512 MB
  std::vector<uint64_t> sums(64);
  const double seconds = median_seconds([&] {
    parallel_for(64, 1, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const auto piece = memory.begin() + i * int64_t(memory.size() / 64);
        sums[i] = std::accumulate(piece, piece + int64_t(memory.size() / 64), uint64_t{0});
      }
    });
  });
  return double(memory.size()) * 8 / seconds / 1e9;
}

double fma_limit() {
  constexpr size_t kRounds = 2'000'000;
  const int threads = ThreadPool::instance().size();
  std::vector<double> operations(static_cast<size_t>(threads));
  std::vector<float> sinks(static_cast<size_t>(threads) * 64);  // a cache line apart and more
  const double seconds = median_seconds([&] {
    ThreadPool::instance().run(threads, [&](int i) {
      operations[i] = isa::table().fma_flops(kRounds, sinks.data() + i * 64);
    });
  });
  return std::accumulate(operations.begin(), operations.end(), 0.0) / seconds / 1e9;
}

mx::array random(mx::Shape shape, mx::Dtype dtype = mx::float32) {
  auto made = mx::astype(mx::random::normal(std::move(shape)), dtype);
  mx::eval(made);
  return made;
}

struct Limits {
  double gbytes;
  double gflops;
};

void bench_product(const Limits& limits, int m, int k, int n) {
  const auto x = random({m, k});
  const double flops = 2.0 * m * k * n;
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto w = random({n, k}, dtype);
    const double s = median_seconds([&] { mx::eval(matmul(x, w, std::nullopt)); });
    const auto name = fmt::format("matmul {} m={} k={} n={}", dtype_text(w), m, k, n);
    if (m == 1) {
      print(name, s * 1e3, double(w.nbytes()) / s / 1e9, "gbytes_per_s", limits.gbytes);
    } else {
      print(name, s * 1e3, flops / s / 1e9, "gflops", limits.gflops);
    }
  }
  const auto q = mx::quantize(random({n, k}), 64, 4);
  mx::eval(q);
  const double s = median_seconds([&] {
    mx::eval(quantized_matmul(x, q[0], q[1], q[2], {64, 4}, std::nullopt));
  });
  const auto name = fmt::format("quantized_matmul 4 bits m={} k={} n={}", m, k, n);
  if (m == 1) {
    print(name, s * 1e3, double(q[0].nbytes() + 2 * q[1].nbytes()) / s / 1e9, "gbytes_per_s",
          limits.gbytes);
  } else {
    print(name, s * 1e3, flops / s / 1e9, "gflops", limits.gflops);
  }
}

void bench_attention(const Limits& limits, int rows, int heads, int head_dim) {
  const auto q = random({rows, heads, head_dim});
  const auto k = random({rows, heads, head_dim});
  const auto v = random({rows, heads, head_dim});
  const double s = median_seconds([&] { mx::eval(segment_attention(q, k, v, {0, rows}, 0.125f)); });
  print(fmt::format("segment_attention rows={} heads={} head_dim={}", rows, heads, head_dim),
        s * 1e3, 4.0 * rows * rows * heads * head_dim / s / 1e9, "gflops", limits.gflops);
}

}  // namespace

int main() {
  const Limits limits{read_limit(), fma_limit()};
  JsonObject head;
  head.set("isa", isa::table().name)
      .set("threads", ThreadPool::instance().size())
      .set("read_gbytes_per_s", limits.gbytes)
      .set("fma_gflops", limits.gflops);
  std::printf("%s\n", head.dump().c_str());
  for (const int m : {1, 64, 256}) {
    bench_product(limits, m, 256, 1024);   // fovea-tiny
    bench_product(limits, m, 576, 1536);   // SmolVLM-256M, decoder
    bench_product(limits, m, 1536, 8960);  // Qwen2-VL-2B, decoder
  }
  bench_attention(limits, 256, 3, 64);    // fovea-tiny's tower
  bench_attention(limits, 1024, 12, 64);  // SigLIP-B 512
  return 0;
}
