// How fast are the kernels, and what share of this machine's limits is that? Limits are measured in
// the same run: reading memory, and fused multiply-adds that stay in registers. Prints one JSON
// object a line; medians of many runs. With an argument one part runs alone: decode or prompt (the
// products of such rows; prompt with one more, of so many rows), formats, int8, epilogues,
// gradients, attention (and with one more, segment, prompt or decode, a kind of it), pool (what it
// costs to share a loop).
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/kv_bytes.h"
#include "kernels/matmul.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "limits.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "stopwatch.h"

namespace {

using namespace fovea;
using namespace fovea::kernels;
namespace mx = mlx::core;

void print(const std::string& name, double milliseconds, double rate, const char* unit,
           double limit) {
  JsonObject line;
  line.set("name", name)
      .set("ms", milliseconds)
      .set(unit, rate)
      .set("share_of_limit", rate / limit);
  std::printf("%s\n", line.dump().c_str());
}

mx::array random(mx::Shape shape, mx::Dtype dtype = mx::float32) {
  auto made = mx::astype(mx::random::normal(std::move(shape)), dtype);
  mx::eval(made);
  return made;
}

// What a product with w is held against: float32 multiply-adds where the weights are float32 or the
// processor has nothing better.
double product_limit(const bench::Limits& limits, mx::Dtype dtype) {
  return dtype == mx::float32 ? limits.fma_gflops : limits.peak_gflops();
}

// Rows of a prompt.
void bench_prompt(const bench::Limits& limits, const std::string& name, int m, int k,
                  const mx::array& w, const std::function<mx::array(const mx::array&)>& op) {
  const auto x = random({m, k});
  const double s = bench::median_seconds([&] { mx::eval(op(x)); });
  print(fmt::format("{} prompt m={} k={} n={}", name, m, k, w.shape(0)), s * 1e3,
        2.0 * m * k * w.shape(0) / s / 1e9, "gflops", product_limit(limits, w.dtype()));
}

void bench_dense(const bench::Limits& limits, int m, int k, int n, mx::Dtype dtype) {
  const auto w = random({n, k}, dtype);
  bench_prompt(limits, "matmul " + dtype_text(w), m, k, w,
               [&](const mx::array& x) { return matmul(x, w, std::nullopt); });
}

// Packed weights, scales and biases.
std::vector<mx::array> quantized(int n, int k, int bits) {
  auto q = mx::quantize(random({n, k}), 64, bits);
  for (const int part : {1, 2}) q[part] = mx::astype(q[part], mx::bfloat16);
  mx::eval(q);
  return q;
}

void bench_quantized(const bench::Limits& limits, int m, int k, int n, int bits) {
  const auto q = quantized(n, k, bits);
  bench_prompt(limits, fmt::format("quantized_matmul {} bits", bits), m, k, q[0],
               [&](const mx::array& x) {
                 return quantized_matmul(x, q[0], q[1], q[2], {64, bits}, std::nullopt);
               });
}

// 4-bit weights that prompts meet once more as int8, against what VNNI would reach at best: twice
// the operations of bfloat16.
void bench_int8(const bench::Limits& limits, int m, int k, int n) {
  if (!multiplies_int8_rows()) return;
  auto q = mx::quantize(random({n, k}), 64, 4);
  mx::eval(q);
  Weight weight{q[0], {}, Quantization{64, 4}, q[1], q[2], nullptr};
  weight.int8_rows = std::make_shared<Int8Rows>(int8_rows(weight));
  const auto x = random({m, k});
  const double s = bench::median_seconds([&] { mx::eval(linear(x, weight)); });
  print(fmt::format("linear int8 rows prompt m={} k={} n={}", m, k, n), s * 1e3,
        2.0 * m * k * n / s / 1e9, "gflops", 2 * limits.peak_gflops());
}

// The parts of an MLP with what follows them, one by one and at once.
void bench_epilogues(const bench::Limits& limits, int m, int k, int n) {
  const auto x = random({m, k});
  const auto hidden = random({m, n});
  const Weight down{random({k, n}, mx::bfloat16), random({k}), {}, {}, {}, nullptr};
  const Weight w{random({n, k}, mx::bfloat16), random({n}), {}, {}, {}, nullptr};
  const Weight gate{random({n, k}, mx::bfloat16), random({n}), {}, {}, {}, nullptr};
  const auto line = [&](const char* name, int products, const std::function<mx::array()>& op) {
    const double s = bench::median_seconds([&] { mx::eval(op()); });
    print(fmt::format("linear bfloat16 {} prompt m={} k={} n={}", name, m, k, n), s * 1e3,
          2.0 * products * m * k * n / s / 1e9, "gflops", limits.peak_gflops());
  };
  line("then gelu", 1, [&] { return gelu(linear(x, w), Gelu::kQuick); });
  line("with gelu", 1, [&] { return linear(x, w, {Activation::kGeluQuick, {}}); });
  line("down then residual", 1, [&] { return mx::add(x, linear(hidden, down)); });
  line("down with residual", 1, [&] { return linear(hidden, down, {Activation::kNone, x}); });
  line("then swiglu", 2, [&] { return swiglu(linear(x, gate), linear(x, w)); });
  line("with swiglu", 2, [&] { return gated_linear(x, gate, w, Activation::kSilu); });
}

// A layer and its gradients: of the input alone, as adapters on frozen weights need it, and of the
// weight too. `of_forward` is the rate beside that of the layer alone.
void bench_gradients(const bench::Limits& limits, int m, int k, int n) {
  const auto x = random({m, k});
  const auto dy = random({m, n});
  const double flops = 2.0 * m * k * n;
  const auto rate = [&](int products, const std::function<Arrays()>& op) {
    return products * flops / bench::median_seconds([&] { mx::eval(op()); }) / 1e9;
  };
  const auto line = [&](const std::string& name, double gflops, double forward) {
    JsonObject object;
    object.set("name", fmt::format("{} m={} k={} n={}", name, m, k, n))
        .set("gflops", gflops)
        .set("share_of_limit", gflops / limits.peak_gflops())
        .set("of_forward", gflops / forward);
    std::printf("%s\n", object.dump().c_str());
  };
  const auto dense = random({n, k}, mx::bfloat16);
  const auto layer = [&](const Arrays& in) { return Arrays{matmul(in[0], in[1], std::nullopt)}; };
  const double forward = rate(1, [&] { return layer({x, dense}); });
  const double both = rate(3, [&] {
    auto [values, gradients] = mx::vjp(layer, {x, dense}, {dy});
    gradients.push_back(values[0]);
    return gradients;
  });
  line("forward and backward of a dense bfloat16 layer", both, forward);
  auto q = mx::quantize(random({n, k}), 64, 4);
  mx::eval(q);
  const auto frozen = [&](const Arrays& in) {
    return Arrays{quantized_matmul(in[0], q[0], q[1], q[2], {64, 4}, std::nullopt)};
  };
  const double frozen_forward = rate(1, [&] { return frozen({x}); });
  const double through = rate(1, [&] { return mx::vjp(frozen, {x}, {dy}).second; });
  line("gradient through a frozen 4-bit layer", through, frozen_forward);
}

// Of so many rows, or all for 0.
void bench_prompt_products(const bench::Limits& limits, int rows) {
  constexpr struct {
    int m, k, n;
  } kShapes[] = {
      {256, 256, 1024},                        // fovea-tiny
      {512, 576, 1536},                        // SmolVLM-256M, decoder
      {1024, 768, 3072},  {1024, 3072, 768},   // SigLIP-B 512
      {577, 1024, 4096},  {577, 4096, 1024},   // CLIP-L 336
      {1564, 1280, 3840}, {1564, 1280, 5120},  // Qwen2-VL's tower
      {1564, 5120, 1280}, {512, 1536, 8960},   // and its 2B decoder
      {512, 8960, 1536},  {512, 4096, 11008},  // LLaVA-1.5-7B, decoder
      {64, 1536, 8960},   {32, 1536, 8960},    // a second question
      {16, 1536, 8960},
  };
  for (const auto [m, k, n] : kShapes) {
    if (rows > 0 && rows != m) continue;
    for (const auto dtype : {mx::float32, mx::bfloat16, mx::float16}) {
      bench_dense(limits, m, k, n, dtype);
    }
    for (const int bits : {4, 8}) bench_quantized(limits, m, k, n, bits);
  }
  if (rows > 0) return;
  for (const int bits : {2, 3, 5, 6}) bench_quantized(limits, 512, 1536, 8960, bits);
}

using Weights = std::vector<mx::array>;
using Product = std::function<mx::array(const mx::array& x, const Weights& w)>;

// Rows of answers are held against the reading of the weights: of several layers, so that they come
// from memory as in a model. The time is that of one.
void bench_decode(const bench::Limits& limits, const std::string& name, int m, int k,
                  const Weights& weights, const Product& op) {
  size_t bytes = 0;
  for (const auto& part : weights) bytes += part.nbytes();
  const int layers = std::clamp(static_cast<int>((size_t{256} << 20) / bytes), 1, 64);
  std::vector<Weights> all;
  for (int i = 0; i < layers; ++i) {
    Weights copy;
    for (const auto& part : weights) copy.push_back(mx::copy(part));
    mx::eval(copy);
    all.push_back(std::move(copy));
  }
  const auto x = random({m, k});
  const DecodeRows scope(0);
  const double s = bench::median_seconds([&] {
    Weights out;
    for (const auto& w : all) out.push_back(op(x, w));
    mx::eval(out);
  });
  print(fmt::format("{} decode m={} k={} n={} layers={}", name, m, k, weights[0].shape(0), layers),
        s * 1e3 / layers, double(bytes) * layers / s / 1e9, "gbytes_per_s", limits.read_gbytes);
}

void bench_decode_quantized(const bench::Limits& limits, int m, int k, int n, int bits) {
  bench_decode(limits, fmt::format("quantized_matmul {} bits", bits), m, k, quantized(n, k, bits),
               [bits](const auto& x, const auto& w) {
                 return quantized_matmul(x, w[0], w[1], w[2], {64, bits}, std::nullopt);
               });
}

// From one row to a batch.
void bench_decode_product(const bench::Limits& limits, int k, int n) {
  for (const int m : {1, 2, 4, 8, 16}) {
    for (const auto dtype : {mx::float32, mx::bfloat16}) {
      const auto w = random({n, k}, dtype);
      bench_decode(limits, "matmul " + dtype_text(w), m, k, {w},
                   [](const auto& x, const auto& in) { return matmul(x, in[0], std::nullopt); });
    }
    for (const int bits : {4, 8}) bench_decode_quantized(limits, m, k, n, bits);
  }
}

// Values that are floats, and integers of every width.
void bench_formats(const bench::Limits& limits, int k, int n) {
  for (const int bits : {4, 2, 3, 5, 6, 8}) bench_decode_quantized(limits, 1, k, n, bits);
  for (const auto mode :
       {QuantizationMode::kMxfp4, QuantizationMode::kNvfp4, QuantizationMode::kMxfp8}) {
    const auto q = standard_quantization(mode);
    const auto parts = mx::quantize(random({n, k}), q.group_size, q.bits, to_string(mode));
    mx::eval(parts);
    const auto product = [q](const mx::array& x, const Weights& w) {
      return linear(x, {.values = w[0], .quantization = q, .scales = w[1]});
    };
    const std::string name = fmt::format("linear {}", to_string(mode));
    bench_decode(limits, name, 1, k, parts, product);
    bench_prompt(limits, name, 512, k, parts[0],
                 [&](const mx::array& x) { return product(x, parts); });
  }
}

void bench_decode_products(const bench::Limits& limits) {
  constexpr struct {
    int k, n;
  } kShapes[] = {
      {256, 1024},                  // fovea-tiny
      {576, 1536},                  // SmolVLM-256M, decoder
      {1536, 8960},                 // Qwen2-VL-2B, decoder
      {8960, 1536},  {1280, 5120},  // Qwen2-VL, tower
      {4096, 11008},                // LLaVA-1.5-7B, decoder
  };
  for (const auto [k, n] : kShapes) bench_decode_product(limits, k, n);
}

// Pictures: every row sees all, in float32 and with products in bfloat16.
void bench_segment_attention(const bench::Limits& limits, int rows, int heads, int head_dim) {
  const auto q = random({rows, heads, head_dim});
  const auto k = random({rows, heads, head_dim});
  const auto v = random({rows, heads, head_dim});
  for (const auto products : {Products::kFloat32, Products::kBFloat16}) {
    const bool bf16 = products == Products::kBFloat16;
    const double s = bench::median_seconds([&] {
      mx::eval(segment_attention(q, k, v, {0, rows}, 0.125f, products));
    });
    print(fmt::format("segment_attention {} rows={} heads={} head_dim={}",
                      bf16 ? "bfloat16" : "float32", rows, heads, head_dim),
          s * 1e3, 4.0 * rows * rows * heads * head_dim / s / 1e9, "gflops",
          bf16 ? limits.peak_gflops() : limits.fma_gflops);
  }
}

// A prompt of `rows` behind `past` other rows.
void bench_prompt_attention(const bench::Limits& limits, int rows, int past, int heads,
                            int key_heads, int head_dim) {
  const auto q = random({rows, heads, head_dim});
  for (const auto dtype : {mx::float32, mx::bfloat16}) {
    const auto k = random({key_heads, past + rows, head_dim}, dtype);
    const auto v = random({key_heads, past + rows, head_dim}, dtype);
    const double s = bench::median_seconds([&] {
      mx::eval(causal_attention(q, k, v, past, {0.125f, 0, 0, false}));
    });
    const double keys = rows * (past + (rows + 1) / 2.0);  // that are seen
    print(fmt::format("causal_attention prompt {} rows={} past={} heads={}/{} head_dim={}",
                      dtype_text(k), rows, past, heads, key_heads, head_dim),
          s * 1e3, 4.0 * keys * heads * head_dim / s / 1e9, "gflops", product_limit(limits, dtype));
  }
}

// Keys or values of a cache, [K, C, D], or 8 bits of them.
mx::array random_keys(int key_heads, int depth, int head_dim, mx::Dtype dtype) {
  if (dtype != mx::uint8) return random({key_heads, depth, head_dim}, dtype);
  const auto empty = mx::zeros({key_heads, depth, kv_row_bytes(head_dim, 64)}, mx::uint8);
  auto kept = append_kv_bytes(empty, random({depth, key_heads, head_dim}), 0, 64);
  mx::eval(kept);
  return kept;
}

// One row of an answer in each of several layers, so that keys come from memory as in a model.
void bench_decode_attention(const bench::Limits& limits, int depth, int heads, int key_heads,
                            int head_dim) {
  const auto q = random({1, heads, head_dim});
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::uint8}) {
    const size_t layer_bytes = 2 * random_keys(key_heads, depth, head_dim, dtype).nbytes();
    const int layers = std::clamp(static_cast<int>((size_t{128} << 20) / layer_bytes), 1, 32);
    std::vector<mx::array> k;
    std::vector<mx::array> v;
    for (int i = 0; i < layers; ++i) {
      k.push_back(random_keys(key_heads, depth, head_dim, dtype));
      v.push_back(random_keys(key_heads, depth, head_dim, dtype));
    }
    const double s = bench::median_seconds([&] {
      std::vector<mx::array> out;
      for (int i = 0; i < layers; ++i) {
        out.push_back(causal_attention(q, k[i], v[i], depth - 1, {0.125f, 0, 0, true}));
      }
      mx::eval(out);
    });
    print(fmt::format("causal_attention decode {} depth={} heads={}/{} head_dim={} layers={}",
                      dtype_text(k[0]), depth, heads, key_heads, head_dim, layers),
          s * 1e3, double(layer_bytes) * layers / s / 1e9, "gbytes_per_s", limits.read_gbytes);
  }
}

void bench_segments(const bench::Limits& limits) {
  bench_segment_attention(limits, 256, 3, 64);    // fovea-tiny's tower
  bench_segment_attention(limits, 1024, 12, 64);  // SigLIP-B 512
  bench_segment_attention(limits, 1564, 16, 80);  // Qwen2-VL's tower
  bench_segment_attention(limits, 577, 16, 64);   // CLIP-L 336
}

void bench_prompts(const bench::Limits& limits) {
  bench_prompt_attention(limits, 512, 0, 12, 12, 128);
  bench_prompt_attention(limits, 512, 0, 12, 2, 128);  // Qwen2-VL-2B
  bench_prompt_attention(limits, 512, 3584, 12, 2, 128);
}

void bench_answers(const bench::Limits& limits) {
  for (const int depth : {4096, 16384}) {
    bench_decode_attention(limits, depth, 9, 3, 64);     // SmolVLM-256M
    bench_decode_attention(limits, depth, 12, 2, 128);   // Qwen2-VL-2B
    bench_decode_attention(limits, depth, 32, 32, 128);  // LLaVA-1.5-7B
  }
}

// What it costs to share a loop: every op does so once or twice.
void bench_pool() {
  constexpr int kLoops = 1000;
  auto& pool = ThreadPool::instance();
  for (const int tasks : {pool.size(), 4 * pool.size()}) {
    const double s = bench::median_seconds([&] {
      for (int i = 0; i < kLoops; ++i) pool.run(tasks, [](int) {});
    });
    JsonObject line;
    line.set("name", fmt::format("empty loop threads={} tasks={}", pool.size(), tasks))
        .set("us", s / kLoops * 1e6);
    std::printf("%s\n", line.dump().c_str());
  }
}

// All kinds of attention for an empty name.
void bench_attention(const bench::Limits& limits, std::string_view kind) {
  if (kind.empty() || kind == "segment") bench_segments(limits);
  if (kind.empty() || kind == "prompt") bench_prompts(limits);
  if (kind.empty() || kind == "decode") bench_answers(limits);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view only = argc > 1 ? argv[1] : "";
  const bench::Limits limits = bench::measure_limits();
  std::printf("%s\n", limits.json().dump().c_str());
  const auto wanted = [&](std::string_view part) { return only.empty() || only == part; };
  if (wanted("decode")) bench_decode_products(limits);
  const std::string more = argc > 2 ? argv[2] : "";
  if (wanted("prompt")) bench_prompt_products(limits, more.empty() ? 0 : std::stoi(more));
  if (wanted("formats")) bench_formats(limits, 1536, 8960);
  if (wanted("int8")) {
    bench_int8(limits, 512, 1536, 8960);
    bench_int8(limits, 512, 8960, 1536);
    bench_int8(limits, 512, 4096, 11008);
  }
  if (wanted("epilogues")) {
    bench_epilogues(limits, 1024, 768, 3072);
    bench_epilogues(limits, 1564, 1280, 5120);
  }
  if (wanted("gradients")) {
    bench_gradients(limits, 512, 1536, 8960);
    bench_gradients(limits, 512, 8960, 1536);
  }
  if (wanted("attention")) bench_attention(limits, more);
  if (wanted("pool")) bench_pool();
  return 0;
}
