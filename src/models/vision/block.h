// The pre-norm block that towers share, with bidirectional attention. Engine thread only.
//
// Legend: P rows, D width, H heads.
#pragma once

#include <optional>
#include <vector>

#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace fovea::models::vision {

namespace mx = mlx::core;

// Attention with q, k and v apart, as CLIP and SigLIP have it, or without a bias of the keys, as
// Whisper has it. Rows see those of their own segment: `cu_seqlens` has where each begins, and the
// end.
class VitAttention : public nn::Module {
 public:
  VitAttention(int dim, int heads, nn::Linear::Bias k_bias = nn::Linear::Bias::kPresent);
  // With the residual added.
  mx::array operator()(const mx::array& x_PD, const std::vector<int>& cu_seqlens,
                       const mx::array& residual_PD) const;
  void visit(nn::Visitor& visitor) override;

 private:
  int heads_;
  nn::Linear q_proj_;
  nn::Linear k_proj_;
  nn::Linear v_proj_;
  nn::Linear out_proj_;
};

class VitBlock : public nn::Module {
 public:
  VitBlock(int dim, int hidden, int heads, float eps, kernels::Gelu gelu,
           nn::Linear::Bias k_bias = nn::Linear::Bias::kPresent);
  mx::array operator()(const mx::array& x_PD, const std::vector<int>& cu_seqlens) const;
  void visit(nn::Visitor& visitor) override;

 private:
  nn::LayerNorm layer_norm1_;
  VitAttention self_attn_;
  nn::LayerNorm layer_norm2_;
  nn::GeluMlp mlp_;
};

// softmax(q k^T / sqrt(head)) v within segments; q, k, v [P, D] of H heads each; `rope` may be
// null. `weights` is the dtype of the tower's weights: products are in bfloat16 unless it is
// float32.
mx::array attend_within(const mx::array& q_PD, const mx::array& k_PD, const mx::array& v_PD,
                        int heads, const nn::RopeTables* rope, const std::vector<int>& cu_seqlens,
                        mx::Dtype weights);

// The same for queries that all see every row of k and v [S, D].
mx::array attend_to(const mx::array& q_PD, const mx::array& k_SD, const mx::array& v_SD, int heads,
                    mx::Dtype weights);

}  // namespace fovea::models::vision
