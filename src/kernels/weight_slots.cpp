#include "kernels/weight_slots.h"

#include "base/error.h"
#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

isa::Float float_kind(const mx::array& a) {
  if (a.dtype() == mx::float32) return isa::Float::kF32;
  if (a.dtype() == mx::bfloat16) return isa::Float::kBF16;
  if (a.dtype() == mx::float16) return isa::Float::kF16;
  fail(ErrorKind::kUnsupported, "[matmul] expected float32, bfloat16 or float16 weights but got {}",
       dtype_text(a));
}

bool scales_fit(const Weight& weight) {
  const auto& [group, bits, mode] = *weight.quantization;
  const auto& w = weight.values;
  if (!weight.scales || w.ndim() != 2 || w.dtype() != mx::uint32) return false;
  const auto& scales = *weight.scales;
  if (scales.ndim() != 2 || scales.shape(0) != w.shape(0)) return false;
  if (int64_t{w.shape(1)} * 32 != int64_t{scales.shape(1)} * group * bits) return false;
  if (!weight.quantization->has_biases()) return scales.dtype() == mx::uint8 && !weight.biases;
  return weight.biases && weight.biases->shape() == scales.shape() &&
         weight.biases->dtype() == scales.dtype();
}

void check_quantized(const Weight& weight) {
  if (weight.quantization->is_supported() && scales_fit(weight)) return;
  const auto& [group, bits, mode] = *weight.quantization;
  fail(ErrorKind::kInvalidData,
       "[quantized_matmul] expected 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128, mxfp4, "
       "nvfp4 or mxfp8 but got {} bits in groups of {} ({}) with shapes {} and {}",
       bits, group, to_string(mode), shape_text(weight.values),
       weight.scales ? shape_text(*weight.scales) : "none");
}

}  // namespace

isa::WeightRows WeightSlots::rows(const Arrays& in) const {
  isa::WeightRows w;
  w.k = k;
  w.data = in[first].data<void>();
  if (!quantization) {
    w.dtype = float_kind(in[first]);
    return w;
  }
  w.bits = quantization->bits;
  w.group_size = quantization->group_size;
  w.scales = in[first + 1].data<void>();
  if (quantization->has_biases()) {
    w.dtype = float_kind(in[first + 1]);
    w.biases = in[first + 2].data<void>();
  } else {
    w.floats = true;
    w.dtype =
        quantization->mode == QuantizationMode::kNvfp4 ? isa::Float::kE4M3 : isa::Float::kE8M0;
  }
  return w;
}

mx::array plain_weight(const Arrays& in, const WeightSlots& slots) {
  const auto& w = in[slots.first];
  if (!slots.quantization) return mx::astype(w, mx::float32);
  const auto& q = *slots.quantization;
  const PlainScales plain(q, in[slots.first + 1], in[slots.first + (q.has_biases() ? 2 : 1)]);
  return mx::dequantize(w, plain.scales, plain.biases, q.group_size, q.bits, to_string(q.mode),
                        std::nullopt, mx::float32);
}

WeightSlots append_weight(const Weight& weight, Arrays& inputs) {
  WeightSlots slots;
  slots.first = inputs.size();
  slots.quantization = weight.quantization;
  slots.int8_rows = weight.int8_rows;
  inputs.push_back(row_major(weight.values));
  if (weight.quantization) {
    check_quantized(weight);
    slots.k = weight.scales->shape(1) * weight.quantization->group_size;
    inputs.push_back(row_major(*weight.scales));
    if (weight.biases) inputs.push_back(row_major(*weight.biases));
  } else {
    if (weight.values.ndim() != 2) {
      fail(ErrorKind::kInvalidData, "[matmul] expected weights [N, K] but got {}",
           shape_text(weight.values));
    }
    float_kind(weight.values);
    slots.k = weight.values.shape(1);
  }
  slots.n = weight.values.shape(0);
  slots.has_bias = weight.bias.has_value();
  if (!weight.bias) return slots;
  if (weight.bias->ndim() != 1 || weight.bias->shape(0) != slots.n) {
    fail(ErrorKind::kInvalidData, "[matmul] expected a bias of shape [{}] but got {}", slots.n,
         shape_text(*weight.bias));
  }
  inputs.push_back(as_float32(*weight.bias));
  return slots;
}

Weight weight_of(const Arrays& in, const WeightSlots& slots) {
  Weight weight{.values = in[slots.first], .quantization = slots.quantization};
  if (slots.quantization) weight.scales = in[slots.first + 1];
  if (slots.quantization && slots.quantization->has_biases()) weight.biases = in[slots.first + 2];
  if (slots.has_bias) weight.bias = in[slots.bias()];
  return weight;
}

mx::Shape product_shape(const mx::array& x, const WeightSlots& weight) {
  if (x.ndim() == 0 || x.shape(-1) != weight.k) {
    fail(ErrorKind::kInvalidData, "[matmul] expected {} inputs but got x of shape {}", weight.k,
         shape_text(x));
  }
  mx::Shape shape = x.shape();
  shape.back() = weight.n;
  return shape;
}

bool has_decode_rows(const std::optional<Quantization>& quantization) {
  return !quantization || quantization->has_biases();
}

}  // namespace fovea::kernels
