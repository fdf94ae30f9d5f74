// A mixture of experts in the place of an MLP: a router picks few of many SwiGLU MLPs for each row.
// Source: Switch Transformers (arXiv:2101.03961), Hugging Face modeling_qwen3_moe. Engine thread
// only.
//
// Legend: T rows, D hidden size, E experts, F width of an expert.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mlx/ops.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace fovea::nn {

class Weights;

// E matrices [out, in] in one weight [E, out, in], each of which is used by itself.
class ExpertLinear : public QuantizableWeight {
 public:
  ExpertLinear(int experts, int in, int out) : QuantizableWeight(out, in, experts) {}
  kernels::Weight weight(int expert) const { return weight_of(expert); }
  using QuantizableWeight::is_turned;
};

struct MoeConfig {
  int num_experts = 0;  // 0: none
  int num_experts_per_tok = 0;
  int moe_intermediate_size = 0;
  bool norm_topk_prob = true;  // the chosen experts' shares are made to add up to 1
};

// Parameters: gate (the router), switch_mlp.gate_proj, .up_proj and .down_proj.
class SparseMoe : public Module {
 public:
  SparseMoe(int dim, const MoeConfig& config);

  // Before loading: what Hugging Face calls `path`.experts becomes the parameters that are listed
  // above. It has gate_up_proj [E, D, 2F] and down_proj [E, F, D], each expert's matrix perhaps the
  // other way round, or the linear layers of each expert by itself, as experts.0.gate_proj.
  static void unpack(Weights& weights, const std::string& path, int dim, const MoeConfig& config);

  // The router's choice is needed to know which weights to read, so this evaluates the graph up to
  // it. A row's bits do not depend on the rows beside it.
  mx::array operator()(const mx::array& x_TD) const;
  // The block's output for norm(x); `residual_TD`, where there is one, is added.
  mx::array operator()(const mx::array& x_TD, const RmsNorm& norm,
                       const std::optional<mx::array>& residual_TD) const {
    const auto out = (*this)(norm(x_TD));
    return residual_TD ? mx::add(*residual_TD, out) : out;
  }
  void visit(Visitor& visitor) override;

 private:
  // Of each row its experts, best first, and their shares.
  struct Routes {
    std::vector<int> experts;   // [T * k]
    std::vector<float> shares;  // [T * k]
  };
  Routes routes_of(const mx::array& x_TD) const;
  mx::array expert(int index, const mx::array& x_RD) const;

  MoeConfig config_;
  Linear gate_;
  ExpertLinear gate_proj_;
  ExpertLinear up_proj_;
  ExpertLinear down_proj_;
};

}  // namespace fovea::nn
