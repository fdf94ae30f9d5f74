#include "nn/linear.h"

#include <cassert>

#include "base/error.h"
#include "mlx/ops.h"

namespace fovea::nn {

QuantizableWeight::QuantizableWeight(int out, int in)
    : out_(out), in_(in), weight_(mx::zeros({out, in})), scales_(0.0f), biases_(0.0f) {}

void QuantizableWeight::set_quantization(const kernels::Quantization& quantization,
                                         const std::string& path) {
  const int group = quantization.group_size;
  // Groups are of 16 values or more, so words are whole too.
  if (in_ % group != 0) {
    fail(ErrorKind::kInvalidData, "[weights] expected {} inputs of '{}' in whole groups of {}", in_,
         path, group);
  }
  quantization_ = quantization;
  const int64_t words = int64_t{in_} * quantization.bits / 32;
  weight_ = mx::zeros({out_, static_cast<int>(words)}, mx::uint32);
  scales_ = mx::zeros({out_, in_ / group}, quantization.has_biases() ? mx::float32 : mx::uint8);
  biases_ = scales_;
}

mx::Dtype QuantizableWeight::dtype() const {
  if (!quantization_) return weight_.dtype();
  return quantization_->has_biases() ? scales_.dtype() : mx::bfloat16;
}

void QuantizableWeight::visit(Visitor& visitor) {
  visitor.quantizable(*this);
  visitor.parameter("weight", weight_);
  if (!quantization_) return;
  visitor.parameter("scales", scales_);
  if (quantization_->has_biases()) visitor.parameter("biases", biases_);
}

kernels::Weight QuantizableWeight::weight(const std::optional<mx::array>& bias) const {
  kernels::Weight weight{.values = weight_, .bias = bias};
  weight.int8_rows = int8_rows_;
  if (!quantization_) return weight;
  weight.quantization = quantization_;
  weight.scales = scales_;
  if (quantization_->has_biases()) weight.biases = biases_;
  return weight;
}

size_t QuantizableWeight::keep_int8_rows() {
  int8_rows_ = std::make_shared<kernels::Int8Rows>(kernels::int8_rows(weight({})));
  return int8_rows_->nbytes();
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
  const mx::array wanted(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
  return kernels::embedding(wanted, weight({}));
}

mx::array Embedding::all() const {
  return kernels::embedding(mx::arange(out_size(), mx::int32), weight({}));
}

}  // namespace fovea::nn
