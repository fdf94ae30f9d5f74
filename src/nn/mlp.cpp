#include "nn/mlp.h"

#include "base/error.h"
#include "kernels/projection.h"

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
  if (auto* tap = InputTap::current()) {
    tap->input(in_[0],
               norm ? kernels::rms_norm(x, norm->weight, norm->eps, norm->weight_offset) : x);
  }
  const auto activation = gelu_ ? kernels::activation_of(*gelu_) : kernels::Activation::kSilu;
  const auto first = in_[0].weight();
  if (in_.size() == 2) {
    return kernels::gated_product(x, norm, first, in_[1].weight(), activation);
  }
  const int size = in_[0].out_size() / 2;
  return kernels::gated_product(x, norm, kernels::rows_of(first, 0, size),
                                kernels::rows_of(first, size, 2 * size), activation);
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
