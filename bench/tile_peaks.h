// Loops of bfloat16 products that stay in registers. Each returns how many operations it did; 0
// where the processor has no such instruction or the kernel does not let us use it.
#pragma once

#include <cstddef>

namespace fovea::bench {

// `sink` takes 16 values, so that no loop is left out.
double bf16_dot_flops(size_t rounds, float* sink);
double amx_bf16_flops(size_t rounds, float* sink);

}  // namespace fovea::bench
