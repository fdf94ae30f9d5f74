// The inner loops of the hot ops, once per instruction set. isa/body.h holds the one generic text;
// each variant (scalar.cpp, avx2.cpp) compiles it with its own vector type and flags. All variants
// work on 8 lanes and round alike, so they give the same bits.
//
// Every function is pure, works on plain memory, and may be called from any thread. Pointers need
// no alignment beyond that of their element, and none at all for weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fovea::kernels::isa {

enum class Float { kF32, kBF16, kF16 };

// N rows of K weights, stored [out, in] as checkpoints have them.
struct WeightRows {
  int k = 0;
  Float dtype = Float::kF32;   // of `data`; of `scales` and `biases` when quantised
  const void* data = nullptr;  // [N, K] values, or packed values when quantised
  // Affine quantisation: value = q * scale + bias per group of a row; bits == 0 means not
  // quantised.
  int bits = 0;
  int group_size = 0;
  const void* scales = nullptr;  // [N, K / group_size]
  const void* biases = nullptr;
};

// Queries of one head that read one stretch of keys.
struct AttentionRows {
  const float* q = nullptr;  // row i at q + i * q_stride
  const float* k = nullptr;  // key j at k + j * kv_stride
  const float* v = nullptr;
  float* out = nullptr;  // row i at out + i * q_stride
  int64_t q_stride = 0;
  int64_t kv_stride = 0;
  int rows = 0;
  int head_dim = 0;
  int first_key = 0;  // of row 0
  int last_key = 0;   // of row 0, one past its end
  int key_step = 0;   // 1: each further row sees one key more (causal); 0: all see the same
  int window = 0;     // causal only: keys that a row sees at most; 0 is all
  float scale = 1;
  float softcap = 0;
};

struct Table {
  std::string_view name;

  // y[m, n] = sum over k of x[m, k] * w[n, k] + bias[n], for n in [n_begin, n_end). `scratch` has
  // 4 * (K + 8) floats. The order of the sum depends on K alone.
  void (*product)(const float* x, int m_count, const WeightRows& w, int n_begin, int n_end,
                  const float* bias, float* y, int64_t y_stride, float* scratch);
  // out[k] = w[row, k] as float.
  void (*expand_row)(const WeightRows& w, int row, float* out);
  void (*rms_norm)(const float* x, const float* weight, float eps, int n, float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int n,
                     float* y);
  // Online softmax over blocks of 64 keys at absolute positions. `scratch` has 3 * (64 + D + 8).
  void (*attend)(const AttentionRows& rows, float* scratch);
  void (*swiglu)(const float* gate, const float* up, size_t n, float* y);  // silu(gate) * up
  void (*gelu_tanh)(const float* x, size_t n, float* y);
  void (*gelu_quick)(const float* x, size_t n, float* y);  // x * sigmoid(1.702 x)
};

inline constexpr int kKeyBlock = 64;
inline constexpr int kLanes = 8;

// What this processor runs, best last; FOVEA_ISA (scalar, avx2) overrides it. An unknown or
// unavailable name is Error(kInvalidArgument), thrown by the first call.
const Table& table();

// The variant of that name, or null when it is unknown or this processor cannot run it.
const Table* find_table(std::string_view name);

}  // namespace fovea::kernels::isa
