// The parts of a weight among the inputs of an op, for the ops that read weights in place. Engine
// thread only.
#pragma once

#include <memory>
#include <optional>

#include "kernels/isa/isa.h"
#include "kernels/matmul.h"
#include "kernels/op.h"

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

// Checks a weight and appends its parts.
WeightSlots append_weight(const Weight& weight, Arrays& inputs);

}  // namespace fovea::kernels
