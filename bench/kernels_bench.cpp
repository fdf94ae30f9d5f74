// How fast are the kernels, and what share of this machine's limits is that? Limits are measured in
// the same run: reading memory, and fused multiply-adds that stay in registers. Prints one JSON
// object a line; medians of many runs. `kernels_bench attention` leaves out the products.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <numeric>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/isa/isa.h"
#include "kernels/matmul.h"
#include "kernels/numerics.h"
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

// Of multiply-adds that stay in registers, in GFLOP/s; 0 where there is no such instruction.
double flops_limit(double (*flops)(size_t, float*)) {
  constexpr size_t kRounds = 2'000'000;
  if (!flops) return 0;
  const int threads = ThreadPool::instance().size();
  std::vector<double> operations(static_cast<size_t>(threads));
  std::vector<float> sinks(static_cast<size_t>(threads) * 64);  // a cache line apart and more
  const double seconds = median_seconds([&] {
    ThreadPool::instance().run(
        threads, [&](int i) { operations[i] = flops(kRounds, sinks.data() + i * 64); });
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
  double f32_gflops;
  double bf16_gflops;  // f32_gflops without bfloat16 instructions

  double gflops(const mx::array& w) const {
    return w.dtype() == mx::float32 ? f32_gflops : bf16_gflops;
  }
};

// Rows of a prompt, or 1 to 16 rows of answers: those are held against the reading of the weights.
void bench_rows(const Limits& limits, const std::string& name, int m, int k, const mx::array& w,
                size_t bytes, bool decode, const std::function<mx::array(const mx::array&)>& op) {
  const auto x = random({m, k});
  const DecodeRows scope(decode ? 0 : m);
  const double s = median_seconds([&] { mx::eval(op(x)); });
  const double flops = 2.0 * m * k * w.shape(0);
  const auto line =
      fmt::format("{} {} m={} k={} n={}", name, decode ? "decode" : "prompt", m, k, w.shape(0));
  if (decode) {
    print(line, s * 1e3, double(bytes) / s / 1e9, "gbytes_per_s", limits.gbytes);
  } else {
    print(line, s * 1e3, flops / s / 1e9, "gflops", limits.gflops(w));
  }
}

void bench_product(const Limits& limits, int m, int k, int n, bool decode) {
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto w = random({n, k}, dtype);
    bench_rows(limits, "matmul " + dtype_text(w), m, k, w, w.nbytes(), decode,
               [&](const mx::array& x) { return matmul(x, w, std::nullopt); });
  }
  for (const int bits : {4, 8}) {
    auto q = mx::quantize(random({n, k}), 64, bits);
    for (auto& scale : {1, 2}) q[scale] = mx::astype(q[scale], mx::bfloat16);
    mx::eval(q);
    bench_rows(limits, fmt::format("quantized_matmul {} bits", bits), m, k, q[0],
               q[0].nbytes() + 2 * q[1].nbytes(), decode, [&](const mx::array& x) {
                 return quantized_matmul(x, q[0], q[1], q[2], {64, bits}, std::nullopt);
               });
  }
}

// Pictures: every row sees all, in float32 and with products in bfloat16.
void bench_segment_attention(const Limits& limits, int rows, int heads, int head_dim) {
  const auto q = random({rows, heads, head_dim});
  const auto k = random({rows, heads, head_dim});
  const auto v = random({rows, heads, head_dim});
  for (const auto products : {Products::kFloat32, Products::kBFloat16}) {
    const bool bf16 = products == Products::kBFloat16;
    const double s = median_seconds([&] {
      mx::eval(segment_attention(q, k, v, {0, rows}, 0.125f, products));
    });
    print(fmt::format("segment_attention {} rows={} heads={} head_dim={}",
                      bf16 ? "bfloat16" : "float32", rows, heads, head_dim),
          s * 1e3, 4.0 * rows * rows * heads * head_dim / s / 1e9, "gflops",
          bf16 ? limits.bf16_gflops : limits.f32_gflops);
  }
}

// A prompt of `rows` behind `past` other rows.
void bench_prompt_attention(const Limits& limits, int rows, int past, int heads, int key_heads,
                            int head_dim) {
  const auto q = random({rows, heads, head_dim});
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto k = random({past + rows, key_heads, head_dim}, dtype);
    const auto v = random({past + rows, key_heads, head_dim}, dtype);
    const double s = median_seconds([&] {
      mx::eval(causal_attention(q, k, v, past, {0.125f, 0, 0, false}));
    });
    const double keys = rows * (past + (rows + 1) / 2.0);  // that are seen
    print(fmt::format("causal_attention prompt {} rows={} past={} heads={}/{} head_dim={}",
                      dtype_text(k), rows, past, heads, key_heads, head_dim),
          s * 1e3, 4.0 * keys * heads * head_dim / s / 1e9, "gflops", limits.gflops(k));
  }
}

// One row of an answer in each of several layers, so that keys come from memory as in a model.
void bench_decode_attention(const Limits& limits, int depth, int heads, int key_heads,
                            int head_dim) {
  const auto q = random({1, heads, head_dim});
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const size_t layer_bytes = size_t(depth) * key_heads * head_dim * 2 * mx::size_of(dtype);
    const int layers = std::clamp(static_cast<int>((size_t{128} << 20) / layer_bytes), 1, 32);
    std::vector<mx::array> k;
    std::vector<mx::array> v;
    for (int i = 0; i < layers; ++i) {
      k.push_back(random({depth, key_heads, head_dim}, dtype));
      v.push_back(random({depth, key_heads, head_dim}, dtype));
    }
    const double s = median_seconds([&] {
      std::vector<mx::array> out;
      for (int i = 0; i < layers; ++i) {
        out.push_back(causal_attention(q, k[i], v[i], depth - 1, {0.125f, 0, 0, true}));
      }
      mx::eval(out);
    });
    print(fmt::format("causal_attention decode {} depth={} heads={}/{} head_dim={} layers={}",
                      dtype_text(k[0]), depth, heads, key_heads, head_dim, layers),
          s * 1e3, double(layer_bytes) * layers / s / 1e9, "gbytes_per_s", limits.gbytes);
  }
}

void bench_attention(const Limits& limits) {
  bench_segment_attention(limits, 256, 3, 64);    // fovea-tiny's tower
  bench_segment_attention(limits, 1024, 12, 64);  // SigLIP-B 512
  bench_segment_attention(limits, 1564, 16, 80);  // Qwen2-VL's tower
  bench_segment_attention(limits, 577, 16, 64);   // CLIP-L 336
  bench_prompt_attention(limits, 512, 0, 12, 12, 128);
  bench_prompt_attention(limits, 512, 0, 12, 2, 128);  // Qwen2-VL-2B
  bench_prompt_attention(limits, 512, 3584, 12, 2, 128);
  for (const int depth : {4096, 16384}) {
    bench_decode_attention(limits, depth, 9, 3, 64);     // SmolVLM-256M
    bench_decode_attention(limits, depth, 12, 2, 128);   // Qwen2-VL-2B
    bench_decode_attention(limits, depth, 32, 32, 128);  // LLaVA-1.5-7B
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto& isa = isa::table();
  Limits limits{read_limit(), flops_limit(isa.fma_flops), flops_limit(isa.bf16_flops)};
  if (limits.bf16_gflops == 0) limits.bf16_gflops = limits.f32_gflops;
  JsonObject head;
  head.set("isa", isa.name)
      .set("threads", ThreadPool::instance().size())
      .set("read_gbytes_per_s", limits.gbytes)
      .set("f32_gflops", limits.f32_gflops)
      .set("bf16_gflops", limits.bf16_gflops);
  std::printf("%s\n", head.dump().c_str());
  if (argc > 1 && std::string_view(argv[1]) == "attention") {
    bench_attention(limits);
    return 0;
  }
  constexpr struct {
    int k, n;
  } kShapes[] = {
      {256, 1024},                  // fovea-tiny
      {576, 1536},                  // SmolVLM-256M, decoder
      {1536, 8960},                 // Qwen2-VL-2B, decoder
      {8960, 1536},  {1280, 5120},  // Qwen2-VL, tower
      {4096, 11008},                // LLaVA-1.5-7B, decoder
  };
  for (const auto [k, n] : kShapes) {
    for (const int m : {1, 8, 16}) bench_product(limits, m, k, n, true);
    for (const int m : {64, 512}) bench_product(limits, m, k, n, false);
  }
  bench_attention(limits);
  return 0;
}
