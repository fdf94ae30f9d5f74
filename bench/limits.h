// What this machine can do at most, measured: every figure of a bench is given as a share of one of
// these from the same run.
#pragma once

#include "base/json.h"

namespace fovea::bench {

struct Limits {
  double read_gbytes = 0;  // GB/s of reading memory, all threads of the pool
  double fma_gflops = 0;   // GFLOP/s of float32 multiply-adds in registers, isa::table()'s
  double bf16_gflops =
      0;                  // of bfloat16 dot products in registers (AVX-512); 0 where there are none
  double amx_gflops = 0;  // of bfloat16 tile products in registers (AMX); 0 where there are none

  // The most that any of them reaches.
  double peak_gflops() const;
  JsonObject json() const;
};

Limits measure_limits();

}  // namespace fovea::bench
