// Self-attention of decoders: projections, rotary positions, and the cache's attention. Engine
// thread only.
//
// Legend: T rows, D hidden size, H heads, K key/value heads.
#pragma once

#include <optional>
#include <span>

#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace fovea::nn {

struct AttentionConfig {
  int hidden_size = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int head_dim = 0;
  Linear::Bias qkv_bias = Linear::Bias::kNone;
  Linear::Bias o_bias = Linear::Bias::kNone;
  int sliding_window = 0;  // 0: none
  bool qk_norm = false;    // an RMS norm over each head's queries and keys, before they turn
  float norm_eps = 1e-6f;
};

class Attention : public Module {
 public:
  explicit Attention(const AttentionConfig& config);
  mx::array operator()(const mx::array& x_TD, const RopeTables& rope, int layer, KvCache& cache,
                       std::span<const Segment> segments) const;
  void visit(Visitor& visitor) override;

 private:
  AttentionConfig config_;
  Linear q_proj_;
  Linear k_proj_;
  Linear v_proj_;
  Linear o_proj_;
  std::optional<RmsNorm> q_norm_;
  std::optional<RmsNorm> k_norm_;
};

}  // namespace fovea::nn
