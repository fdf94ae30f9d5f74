// The parts of a weight among the inputs of an op, for the ops that read weights in place. Engine
// thread only.
#pragma once

#include <memory>
#include <optional>

#include "kernels/isa/isa.h"
#include "kernels/matmul.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {

// Where the parts of a weight stand among an op's inputs: values, scales and biases when it is
// quantised, and its products' bias last.
struct WeightSlots {
  size_t first = 0;
  int n = 0;
  int k = 0;
  std::optional<Quantization> quantization;
  bool has_bias = false;
  std::shared_ptr<const Int8Rows> int8_rows;

  size_t bias() const { return first + (quantization ? quantization->has_biases() ? 3 : 2 : 1); }

  isa::WeightRows rows(const Arrays& in) const;
};

// What MLX's own ops take for scales and biases, so that they compute in float32.
struct PlainScales {
  mx::array scales;
  std::optional<mx::array> biases;

  PlainScales(const Quantization& q, const mx::array& scales_given, const mx::array& biases_given)
      : scales(q.has_biases() ? mx::astype(scales_given, mx::float32) : scales_given) {
    if (q.has_biases()) biases = mx::astype(biases_given, mx::float32);
  }
};

// The weight as float32 [N, K], by plain MLX ops.
mx::array plain_weight(const Arrays& in, const WeightSlots& slots);

// Checks a weight and appends its parts.
WeightSlots append_weight(const Weight& weight, Arrays& inputs);

// The weight again, without int8 rows.
Weight weight_of(const Arrays& in, const WeightSlots& slots);

// The shape of x[..., K] times the weight; x of other inputs is Error(kInvalidData).
mx::Shape product_shape(const mx::array& x, const WeightSlots& weight);

// Whether decode rows are products of their own kind. Values that are floats have no integers to
// multiply: all rows are as those of prompts.
bool has_decode_rows(const std::optional<Quantization>& quantization);

}  // namespace fovea::kernels
