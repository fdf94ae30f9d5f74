#include "nn/mlp.h"

#include "base/error.h"
#include "kernels/projection.h"
#include "mlx/ops.h"

namespace fovea::nn {

SwigluMlp::SwigluMlp(int dim, int hidden, Linear::Bias bias, bool fused,
                     std::optional<kernels::Gelu> gelu)
    : gelu_(gelu), down_proj_(hidden, dim, bias) {
  if (fused) {
    in_.emplace_back(dim, 2 * hidden, bias);
  } else {
    for (int i = 0; i < 2; ++i) in_.emplace_back(dim, hidden, bias);
  }
}

mx::array SwigluMlp::hidden(const mx::array& x, const std::optional<kernels::RowNorm>& norm) const {
  if (in_.size() == 2) {
    const auto activation = gelu_ ? kernels::activation_of(*gelu_) : kernels::Activation::kSilu;
    return kernels::gated_product(x, norm, in_[0].weight(), in_[1].weight(), activation);
  }
  const auto both = kernels::products(x, norm, {in_[0].weight()})[0];
  const auto halves = mx::split(both, 2, -1);
  return gelu_ ? mx::multiply(kernels::gelu(halves[0], *gelu_), halves[1])
               : kernels::swiglu(halves[0], halves[1]);
}

void SwigluMlp::visit(Visitor& visitor) {
  if (in_.size() == 1) {
    visitor.child("gate_up_proj", in_[0]);
  } else {
    visitor.child("gate_proj", in_[0]);
    visitor.child("up_proj", in_[1]);
  }
  visitor.child("down_proj", down_proj_);
}

kernels::Gelu gelu_from_config(const Json& config, const std::string& key,
                               const std::string& fallback) {
  const std::string name = config.get_string(key, fallback);
  if (name == "gelu") return kernels::Gelu::kExact;
  if (name == "quick_gelu") return kernels::Gelu::kQuick;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return kernels::Gelu::kTanh;
  fail(ErrorKind::kUnsupported,
       "[{}] expected gelu, quick_gelu, gelu_new or gelu_pytorch_tanh at '{}' but got '{}'",
       config.where(), config[key].path(), name);
}

}  // namespace fovea::nn
