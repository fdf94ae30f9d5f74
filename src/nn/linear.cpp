#include "nn/linear.h"

#include <cassert>

#include "base/error.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::nn {

QuantizableWeight::QuantizableWeight(int out, int in, int stacked)
    : out_(out),
      in_(in),
      stacked_(stacked),
      weight_(mx::zeros(stack_of(out, in))),
      scales_(0.0f),
      biases_(0.0f) {}

mx::Shape QuantizableWeight::stack_of(int rows, int columns) const {
  return stacked_ > 0 ? mx::Shape{stacked_, rows, columns} : mx::Shape{rows, columns};
}

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
  weight_ = mx::zeros(stack_of(out_, static_cast<int>(words)), mx::uint32);
  scales_ =
      mx::zeros(stack_of(out_, in_ / group), quantization.has_biases() ? mx::float32 : mx::uint8);
  biases_ = scales_;
}

void QuantizableWeight::set_matrices(std::vector<mx::array> matrices) {
  assert(static_cast<int>(matrices.size()) == stacked_ && !quantization_);
  matrices_ = std::move(matrices);
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

kernels::Weight QuantizableWeight::as_weight(const Arrays& arrays) const {
  kernels::Weight weight{.values = arrays.weight};
  if (!quantization_) return weight;
  weight.quantization = quantization_;
  weight.scales = arrays.scales;
  if (quantization_->has_biases()) weight.biases = arrays.biases;
  return weight;
}

kernels::Weight QuantizableWeight::weight(const std::optional<mx::array>& bias) const {
  assert(stacked_ == 0);
  auto weight = as_weight({weight_, scales_, biases_});
  weight.bias = bias;
  weight.int8_rows = int8_rows_;
  return weight;
}

kernels::Weight QuantizableWeight::weight_of(int which) const {
  assert(which >= 0 && which < stacked_);
  if (!matrices_.empty()) {
    return as_weight({matrices_[static_cast<size_t>(which)], scales_, biases_});
  }
  if (views_.empty()) {
    std::vector<mx::array> made;
    const auto view = [&](const mx::array& stack, int i) {
      if (stack.ndim() < 3) return stack;  // no scales
      const int rows = stack.shape(1);
      const int columns = stack.shape(2);
      const auto one = mx::slice(stack, {i, 0, 0}, {i + 1, rows, columns});
      made.push_back(mx::reshape(one, {rows, columns}));
      return made.back();
    };
    for (int i = 0; i < stacked_; ++i) {
      views_.push_back({view(weight_, i), view(scales_, i), view(biases_, i)});
    }
    mx::eval(made);  // or kernels would copy what is not there yet
  }
  return as_weight(views_[static_cast<size_t>(which)]);
}

size_t QuantizableWeight::keep_int8_rows() {
  if (stacked_ > 0 || in_ > kernels::kInt8InputsMax) return 0;
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
  return kernels::embedding(wanted, weight());
}

mx::array Embedding::all() const {
  return kernels::embedding(mx::arange(out_size(), mx::int32), weight());
}

}  // namespace fovea::nn
