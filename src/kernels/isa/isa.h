// The inner loops of the hot ops, once per instruction set. isa/body.h holds the generic text;
// each variant (scalar.cpp, avx2.cpp, avx512.cpp) compiles it with its own flags; amx.cpp replaces
// what tiles do better than avx512. All variants round and sum alike, so they give the same bits,
// but for prompt_bf16 and attend_bf16.
//
// Every function is pure, works on plain memory, and may be called from any thread. Pointers need
// no alignment beyond that of their element, and none at all for weights.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::kernels::isa {

enum class Float { kF32, kBF16, kF16, kI8, kE8M0, kE4M3 };

// N rows of K weights, stored [out, in] as checkpoints have them.
struct WeightRows {
  int k = 0;
  // Of `data`; of `scales` and `biases` when quantised. kI8, for prompt_int8 alone: whole numbers,
  // with a float scale and the int32 sum of its numbers (as `biases`) for each row.
  Float dtype = Float::kF32;
  const void* data = nullptr;  // [N, K] values, or packed values when quantised
  // Affine quantisation: value = q * scale + bias per group of a row; bits == 0 means not
  // quantised.
  int bits = 0;
  int group_size = 0;
  // Or values are floats of 4 bits (e2m1) or 8 (e4m3) times a scale, kE8M0 or kE4M3, without bias.
  bool floats = false;
  const void* scales = nullptr;  // [N, K / group_size]
  const void* biases = nullptr;
  // For gradients: rows that are the inputs of a product, whose outputs are then the K columns; 0
  // is a product as usual. Prompt rows in float32 and bfloat16 take it.
  int turned_rows = 0;

  int inputs() const { return turned_rows != 0 ? turned_rows : k; }
};

// What keys and values are stored as.
enum class KvType { kF32, kBF16, kBytes };

// Keys [begin, end).
struct KeyRange {
  int begin = 0;
  int end = 0;
};

// Queries of heads that share one key head, and the keys that they meet. Keys lie in places of
// `place_keys` keys each, one after another: key j is row j % place_keys of place j / place_keys.
struct AttentionRows {
  const float* q = nullptr;  // head h of row i at q + i * q_stride + h * q_head_stride
  int64_t q_stride = 0;
  int64_t q_head_stride = 0;
  float* out = nullptr;  // head h of row i at out + i * out_stride + h * head_dim
  int64_t out_stride = 0;
  int rows = 0;
  int group = 1;  // heads; rows * group is at most kQueries, or kFlashQueries
  int head_dim = 0;

  const void* const* k = nullptr;  // places
  const void* const* v = nullptr;
  int place_keys = 0;    // a multiple of kPlaceKeys, unless there is one place only
  int64_t k_stride = 0;  // bytes from key to key
  int64_t v_stride = 0;
  int64_t k_offset = 0;  // bytes from the begin of a place to the first key of this head
  int64_t v_offset = 0;
  KvType kv_type = KvType::kF32;
  int kv_group = 0;  // elements that share a scale, for kBytes (kernels/kv_bytes.h)

  const KeyRange* seen = nullptr;  // by each row
  float scale = 1;
  float softcap = 0;
  // Added to scores after scale and cap: key j of row i and head h at
  // mask + i * mask_stride + h * mask_head_stride + j. Null for none.
  const float* mask = nullptr;
  int64_t mask_stride = 0;
  int64_t mask_head_stride = 0;
  const float* sinks = nullptr;  // of the heads: a score that takes a share and gives no value
};

enum class Activation { kNone, kSilu, kGeluExact, kGeluTanh, kGeluQuick };

// y = activation(x w^T + bias), or with a gate
// y = activation(x gate^T + gate_bias) * (x w^T + bias). Pointers may be null but x, y.
struct PromptProduct {
  const std::byte* x = nullptr;  // blocks of rows, as `prepare` writes them
  int rows = 0;
  int n = 0;  // outputs of w, that the product takes a part of
  WeightRows w;
  const float* bias = nullptr;
  const WeightRows* gate = nullptr;  // of the shape and kind of w
  const float* gate_bias = nullptr;
  Activation activation = Activation::kNone;
  float* y = nullptr;
  int64_t y_stride = 0;
};

inline constexpr size_t kPromptScratchBytes = size_t{704} * 1024;

// How a variant multiplies prompt rows. `prepare` turns up to block_rows rows of x into
// block_bytes(w) bytes at a multiple of 64; `product` takes such blocks, for outputs
// [n_begin, n_end); `scratch` has scratch_bytes at a multiple of 64. Threads share a product
// by panel_columns outputs at least, or they do work in vain.
struct PromptRows {
  int block_rows = 0;
  int panel_columns = 0;
  size_t (*block_bytes)(const WeightRows& w) = nullptr;
  void (*prepare)(const float* x, int rows, const WeightRows& w, std::byte* block) = nullptr;
  // The same from columns: x[i * stride + r] is input i of row r. May be null.
  void (*prepare_turned)(const float* x, int64_t stride, int rows, const WeightRows& w,
                         std::byte* block) = nullptr;
  void (*product)(const PromptProduct& p, int n_begin, int n_end, std::byte* scratch) = nullptr;
  size_t scratch_bytes = kPromptScratchBytes;
};

struct Table {
  std::string_view name;

  // y[m, n] = sum over k of x[m, k] * w[n, k] + bias[n], for n in [n_begin, n_end), where w is not
  // quantised: decode rows. `scratch` has panel_columns(K) * K floats. The order of the sum depends
  // on K alone.
  void (*product)(const float* x, int m_count, const WeightRows& w, int n_begin, int n_end,
                  const float* bias, float* y, int64_t y_stride, float* scratch) = nullptr;
  // Products of decode rows (kernels/numerics.h) with quantised weights; the same bits in all
  // variants. prepare_decode_row turns one row of x into decode_row_bytes(w) bytes at an address
  // that is a multiple of 64; decode_product takes m_count of them, one after another.
  size_t (*decode_row_bytes)(const WeightRows& w) = nullptr;
  void (*prepare_decode_row)(const float* x, const WeightRows& w, std::byte* row) = nullptr;
  void (*decode_product)(const std::byte* x, int m_count, const WeightRows& w, int n_begin,
                         int n_end, const float* bias, float* y, int64_t y_stride) = nullptr;
  // Products of prompt rows in float32, the same bits in all variants; with activations and weights
  // rounded to bfloat16, with bits of its own, null where float32 is as fast; and with weights and
  // activations in 8-bit integers by row, null where there are no instructions for it.
  PromptRows prompt_f32;
  PromptRows prompt_bf16;
  PromptRows prompt_int8;
  // out[k] = w[row, k] as float.
  void (*expand_row)(const WeightRows& w, int row, float* out) = nullptr;
  // x / rms(x) * (weight + offset).
  void (*rms_norm)(const float* x, const float* weight, float offset, float eps, int n,
                   float* y) = nullptr;
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int n,
                     float* y) = nullptr;
  // Online softmax over blocks of kKeyBlock keys from key 0, in float32. A row that sees no key, or
  // whose mask hides them all, gives zeros. `scratch` has attend_floats(D) at a multiple of 64
  // bytes.
  void (*attend)(const AttentionRows& rows, float* scratch) = nullptr;
  // The same in two steps, for threads that share the history of few rows: one split of it into
  // parts, part_floats(D) for each query; then the parts of `splits` splits, `stride` floats apart.
  void (*attend_split)(const AttentionRows& rows, int split, float* scratch,
                       float* parts) = nullptr;
  void (*merge_splits)(const AttentionRows& rows, const float* parts, size_t stride, int splits,
                       float* scratch) = nullptr;
  // The same with queries, keys, values and weights rounded to bfloat16, and bits of its own; null
  // where that is no faster. `scratch` has attend_bf16_floats(D) at a multiple of 64 bytes.
  void (*attend_bf16)(const AttentionRows& rows, float* scratch) = nullptr;
  // A row of `dim` elements in 8 bits (kernels/kv_bytes.h).
  void (*quantize_kv)(const float* x, int dim, int group, std::byte* row) = nullptr;
  // To bfloat16, the nearest, halves to even; NaN stays NaN.
  void (*round_to_bf16)(const float* x, size_t n, uint16_t* y) = nullptr;
  // Turns element i of each head with element i + r by the row's angle i; r <= head_dim / 2.
  void (*rotate)(const float* x, const float* cos, const float* sin, int heads, int head_dim, int r,
                 float* y) = nullptr;
  // How exact the activations are: kernels/activation.h.
  void (*swiglu)(const float* gate, const float* up, size_t n, float* y) = nullptr;
  void (*silu)(const float* x, size_t n, float* y) = nullptr;
  void (*gelu_exact)(const float* x, size_t n, float* y) = nullptr;
  void (*gelu_tanh)(const float* x, size_t n, float* y) = nullptr;
  void (*gelu_quick)(const float* x, size_t n, float* y) = nullptr;  // x * sigmoid(1.702 x)
  // Does multiply-adds in registers and says how many operations they were: a limit for benches.
  double (*fma_flops)(size_t rounds, float* sink) = nullptr;
};

inline constexpr int kLanes = 8;
inline constexpr int kLanes16 = 16;

// Queries that go through the keys together, so that a block of keys is read and unpacked once.
inline constexpr int kQueries = 24;
inline constexpr int kFlashQueries = 384;
inline constexpr int kKeyBlock = 64;
inline constexpr int kPlaceKeys = 128;
inline constexpr int kSplit = 256;  // keys after which the exact sums begin anew
inline constexpr int kTileQueries = 6;
constexpr size_t part_floats(int head_dim) { return size_t((head_dim + 31) / 32 * 32 + 16); }
constexpr size_t attend_floats(int head_dim) {
  return size_t(kTileQueries * kKeyBlock) + size_t(4 * kQueries) * part_floats(head_dim);
}
constexpr size_t attend_bf16_floats(int head_dim) {
  constexpr size_t kPerElement = 64 + 64 + kFlashQueries / 2 + kFlashQueries;
  return 14336 + kPerElement * ((size_t(head_dim) + 31) / 32 * 32);
}

// Products go through as many columns at a time as fit the first-level cache twice over, and as
// many rows as fit a part of the second.
inline constexpr int kPanelFloats = 16 * 1024;
inline constexpr int kRowBlockFloats = 32 * 1024;
constexpr int panel_columns(int k) {
  return std::clamp(kPanelFloats / std::max(k, 1) / 4, 1, 16) * 4;
}

// Columns that decode products of several rows go through together.
inline constexpr int kDecodePanel = 32;

// The best that this processor runs, or what FOVEA_ISA (scalar, avx2, avx512, amx) names: chosen by
// the first call, which throws what choose() throws.
const Table& table();

// The best variant for an empty name. An unknown or unavailable name is Error(kInvalidArgument),
// which tells what an unavailable one lacks.
const Table& choose(std::string_view name);

// The variant of that name, or null when it is unknown or this processor cannot run it.
const Table* find_table(std::string_view name);

// What this build has, worst first, and what of each was found here: a variant runs when nothing is
// missing.
struct VariantReport {
  std::string_view name;
  std::vector<std::string> present;
  std::vector<std::string> missing;
};
std::vector<VariantReport> variants();

}  // namespace fovea::kernels::isa
