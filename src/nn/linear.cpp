#include "nn/linear.h"

#include <cassert>

#include "base/error.h"
#include "mlx/ops.h"

namespace fovea::nn {

QuantizableWeight::QuantizableWeight(int out, int in)
    : out_(out), in_(in), weight_(mx::zeros({out, in})), scales_(0.0f), biases_(0.0f) {}

void QuantizableWeight::set_affine(const kernels::Affine& affine, const std::string& path) {
  if (in_ % affine.group_size != 0) {  // groups are of 32 values or more, so words are whole too
    fail(ErrorKind::kInvalidData, "[weights] expected {} inputs of '{}' in whole groups of {}", in_,
         path, affine.group_size);
  }
  affine_ = affine;
  weight_ = mx::zeros({out_, in_ / 32 * affine.bits}, mx::uint32);
  scales_ = mx::zeros({out_, in_ / affine.group_size});
  biases_ = scales_;
}

void QuantizableWeight::visit(Visitor& visitor) {
  visitor.quantizable(*this);
  visitor.parameter("weight", weight_);
  if (!affine_) return;
  visitor.parameter("scales", scales_);
  visitor.parameter("biases", biases_);
}

mx::array QuantizableWeight::apply(const mx::array& x, const std::optional<mx::array>& bias) const {
  if (!affine_) return kernels::matmul(x, weight_, bias);
  return kernels::quantized_matmul(x, weight_, scales_, biases_, *affine_, bias);
}

mx::array QuantizableWeight::rows(const mx::array& ids) const {
  if (!affine_) return kernels::embedding(ids, weight_);
  return kernels::quantized_embedding(ids, weight_, scales_, biases_, *affine_);
}

Linear::Linear(int in, int out, Bias bias) : QuantizableWeight(out, in) {
  if (bias == Bias::kPresent) bias_ = mx::zeros({out});
}

void Linear::visit(Visitor& visitor) {
  QuantizableWeight::visit(visitor);
  if (bias_) visitor.parameter("bias", *bias_);
}

mx::array Embedding::operator()(std::span<const int32_t> ids) const {
  for ([[maybe_unused]] const int32_t id : ids) assert(id >= 0 && id < out_size());
  return rows(mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32));
}

mx::array Embedding::all() const { return rows(mx::arange(out_size(), mx::int32)); }

}  // namespace fovea::nn
