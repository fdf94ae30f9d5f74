// The two feed-forward blocks of the families so far. Engine thread only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/activation.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace fovea::nn {

// down(silu(gate(x)) * up(x)), as in llama-like decoders, or with a GELU for silu as in Gemma's.
// Parameters: gate_proj and up_proj, or both as one gate_up_proj where they are fused; down_proj.
class SwigluMlp : public Module {
 public:
  SwigluMlp(int dim, int hidden, Linear::Bias bias, bool fused = false,
            std::optional<kernels::Gelu> gelu = std::nullopt);
  // `residual`, where there is one, is added.
  mx::array operator()(const mx::array& x,
                       const std::optional<mx::array>& residual = std::nullopt) const {
    return down_proj_(hidden(x, std::nullopt), {.residual = residual});
  }
  // The block's output for norm(x).
  mx::array operator()(const mx::array& x, const RmsNorm& norm,
                       const std::optional<mx::array>& residual) const {
    return down_proj_(hidden(x, norm.row_norm()), {.residual = residual});
  }
  void visit(Visitor& visitor) override;

 private:
  mx::array hidden(const mx::array& x, const std::optional<kernels::RowNorm>& norm) const;

  std::optional<kernels::Gelu> gelu_;
  std::vector<Linear> in_;
  Linear down_proj_;
};

// fc2(gelu(fc1(x))), as in vision towers. `first` and `second` are the checkpoint's names.
class GeluMlp : public Module {
 public:
  GeluMlp(int in, int hidden, int out, kernels::Gelu gelu,
          Linear::Bias bias = Linear::Bias::kPresent, std::string first = "fc1",
          std::string second = "fc2")
      : gelu_(kernels::activation_of(gelu)),
        first_(std::move(first)),
        second_(std::move(second)),
        fc1_(in, hidden, bias),
        fc2_(hidden, out, bias) {}
  // `residual`, where there is one, is added.
  mx::array operator()(const mx::array& x,
                       const std::optional<mx::array>& residual = std::nullopt) const {
    return fc2_(fc1_(x, {.activation = gelu_}), {.residual = residual});
  }
  void visit(Visitor& visitor) override {
    visitor.child(first_, fc1_);
    visitor.child(second_, fc2_);
  }

 private:
  kernels::Activation gelu_;
  std::string first_;
  std::string second_;
  Linear fc1_;
  Linear fc2_;
};

// The GELU that a config names ("quick_gelu", "gelu_pytorch_tanh", "gelu", ...). Throws
// Error(kUnsupported) for any other function.
kernels::Gelu gelu_from_config(const Json& config, const std::string& key,
                               const std::string& fallback);

}  // namespace fovea::nn
