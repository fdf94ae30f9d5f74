// Rotary tables from a model's config: plain, linear and llama3 scaling, and M-RoPE, in which three
// position axes share the frequencies in sections. Source of the formulas: RoFormer
// (arXiv:2104.09864), Qwen2-VL (arXiv:2409.12191), Hugging Face modeling_rope_utils.
//
// Legend: T rows, A position axes (1, or 3 for M-RoPE), R frequencies (half the rotated size).
#pragma once

#include <vector>

#include "base/json.h"
#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

struct RopeTables {
  mx::array cos_TR;
  mx::array sin_TR;
};

class RotaryEmbedding {
 public:
  // Reads rope_theta (or takes `standard_theta`), partial_rotary_factor, and rope_scaling,
  // rope_parameters or both. Throws Error(kUnsupported) for a scaling it does not know and
  // Error(kInvalidData) for numbers that make no rotation and sections that do not fill the head.
  RotaryEmbedding(const Json& config, int head_dim, double standard_theta = 10000);

  int axes() const { return mrope_section_.empty() ? 1 : 3; }
  RopeTables tables(const mx::array& position_ids_AT) const;

 private:
  std::vector<float> inv_freq_;     // [R]
  std::vector<int> mrope_section_;  // frequencies of each axis, R in sum; empty for plain RoPE
};

}  // namespace fovea::nn
