// Rotary tables from a model's config: plain, linear, llama3, yarn and longrope scaling, and
// M-RoPE, in which three position axes share the frequencies, in sections or interleaved. Source of
// the formulas: RoFormer (arXiv:2104.09864), Qwen2-VL (arXiv:2409.12191), Qwen3-VL
// (arXiv:2511.21631), YaRN (arXiv:2309.00071), LongRoPE (arXiv:2402.13753), Hugging Face
// modeling_rope_utils and modeling_ministral3.
//
// Legend: T rows, A position axes, R frequencies (half the rotated size). A is 1, or 3 for M-RoPE,
// or 2 for longrope, whose frequencies depend on how long the text is: the second axis has the last
// position that was known when a row was computed, so that a prompt's rows all turn alike, however
// it is cut.
#pragma once

#include <optional>
#include <vector>

#include "base/json.h"
#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

struct RopeTables {
  mx::array cos_TR;
  mx::array sin_TR;
  // Of queries, where they grow with their position (llama_4_scaling_beta): the same, times that.
  std::optional<mx::array> query_cos_TR = std::nullopt;
  std::optional<mx::array> query_sin_TR = std::nullopt;
};

class RotaryEmbedding {
 public:
  // Reads rope_theta (or takes `standard_theta`), partial_rotary_factor, and rope_scaling,
  // rope_parameters or both. Throws Error(kUnsupported) for a scaling it does not know and
  // Error(kInvalidData) for numbers that make no rotation and sections that do not fill the head.
  // Interleaved sections take turns, a frequency each, until the second and the third axis have
  // theirs; the first has the rest.
  RotaryEmbedding(const Json& config, int head_dim, double standard_theta = 10000,
                  bool interleaved = false);

  int axes() const;
  // Whether the second axis is the last known position.
  bool depends_on_length() const { return long_context_ > 0; }
  // Whether rows turn otherwise once this is the last known position.
  bool is_long(int last) const { return depends_on_length() && last >= long_context_; }
  RopeTables tables(const mx::array& position_ids_AT) const;

 private:
  void read_longrope(const Json& config, const Json& scaling);
  void read_yarn(const Json& scaling, double theta);
  void read_query_growth(const Json& scaling);
  // [T, 1]: 1 + beta log(1 + floor(position / context)).
  mx::array query_growth(const mx::array& positions_AT) const;

  std::vector<float> inv_freq_;   // [R]
  std::vector<int> axis_of_;      // [R], for M-RoPE
  std::vector<float> long_freq_;  // [R], in place of inv_freq_ from long_context_ positions on
  int long_context_ = 0;          // 0: no longrope
  float stretch_ = 1;             // of cosines and sines
  float query_beta_ = 0;          // 0: queries do not grow
  float query_context_ = 0;
};

}  // namespace fovea::nn
