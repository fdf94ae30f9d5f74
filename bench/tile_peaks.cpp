#include "tile_peaks.h"

#include <immintrin.h>

#include "kernels/isa/tiles.h"

namespace fovea::bench {
namespace {

constexpr int kSums = 12;  // enough to hide an instruction's latency, few enough for registers

__attribute__((target("avx512f,avx512bf16"))) double dot_flops(size_t rounds, float* sink) {
  __m512 sums[kSums];
#pragma GCC unroll 12
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3F80));  // 1.0
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, x, x);
  }
  // All are used, or the compiler leaves out those that are not.
  __m512 total = _mm512_setzero_ps();
  for (const auto& sum : sums) total = _mm512_add_ps(total, sum);
  _mm512_storeu_ps(sink, total);
  return double(rounds) * kSums * 16 * 2 * 2;
}

__attribute__((target("amx-tile,amx-bf16"))) double tile_flops(size_t rounds, float* sink) {
  const kernels::isa::TileConfig config;
  // The intrinsic names 8 of its 64 bytes as input: without this the stores may be left out.
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (size_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float tile[256];
  _tile_stored(0, tile, 64);
  _tile_release();
  sink[0] = tile[0];
  return double(rounds) * 4 * 16 * 16 * 32 * 2;
}

}  // namespace

double bf16_dot_flops(size_t rounds, float* sink) {
  return __builtin_cpu_supports("avx512bf16") ? dot_flops(rounds, sink) : 0;
}

double amx_bf16_flops(size_t rounds, float* sink) {
  using namespace kernels::isa;
  static const bool has = tile_support(this_machine()).missing.empty();
  return has ? tile_flops(rounds, sink) : 0;
}

}  // namespace fovea::bench
