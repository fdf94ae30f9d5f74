// Self-attention of decoders: projections, rotary positions, and the cache's attention. Engine
// thread only.
//
// Legend: T rows, D hidden size, H heads, K key/value heads.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace fovea::nn {

// Queries, keys and values of one input: three products, or one whose rows hold them one behind the
// other. Parameters: q_proj, k_proj and v_proj, or qkv_proj.
class QkvProjection : public Module {
 public:
  QkvProjection(int in, int q_size, int kv_size, Linear::Bias bias, bool fused);
  // Of norm(x).
  std::array<mx::array, 3> operator()(const mx::array& x_TD, const RmsNorm& norm) const;
  mx::Dtype dtype() const { return parts_.back().dtype(); }
  void visit(Visitor& visitor) override;

 private:
  int q_size_;
  int kv_size_;
  std::vector<Linear> parts_;
};

struct AttentionConfig {
  int hidden_size = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int head_dim = 0;
  Linear::Bias qkv_bias = Linear::Bias::kNone;
  Linear::Bias o_bias = Linear::Bias::kNone;
  std::optional<Linear::Bias> k_bias = {};  // of keys alone, where it is not qkv_bias
  int sliding_window = 0;                   // 0: none
  bool fused_qkv = false;
  bool qk_norm = false;  // an RMS norm over each head's queries and keys, before they turn
  float norm_eps = 1e-6f;
  float norm_offset = 0;  // see RmsNorm
  float scale = 0;        // of scores; 0: 1 / sqrt(head_dim)
  float softcap = 0;      // see AttentionSpec
};

// What keys and values are kept in (AttentionSpec) for weights of this dtype.
mx::Dtype kv_dtype_for(mx::Dtype weights);

class Attention : public Module {
 public:
  explicit Attention(const AttentionConfig& config);
  // The block's output for norm(x); `residual_TD`, where there is one, is added.
  mx::array operator()(const mx::array& x_TD, const RmsNorm& norm, const RopeTables& rope,
                       int layer, KvCache& cache, std::span<const Segment> segments,
                       const std::optional<mx::array>& residual_TD = std::nullopt) const;
  void visit(Visitor& visitor) override;
  // After loading.
  KvLayer kv_layer() const;

 private:
  AttentionConfig config_;
  QkvProjection qkv_;
  Linear o_proj_;
  std::optional<RmsNorm> q_norm_;
  std::optional<RmsNorm> k_norm_;
};

}  // namespace fovea::nn
