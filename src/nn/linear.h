// y = x W^T + b, and token embeddings, with plain or quantised weights. Engine thread only.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/matmul.h"
#include "nn/input_tap.h"
#include "nn/module.h"

namespace fovea::nn {

// A weight [out, in] that a checkpoint may hold quantised, or a stack of them.
class QuantizableWeight : public Module {
 public:
  // `stacked` weights [stacked, out, in]; 0 is one [out, in].
  QuantizableWeight(int out, int in, int stacked = 0);

  // For the visitor that loads, where the checkpoint has scales for this weight. Throws
  // Error(kInvalidData) naming `path` when `in` is no multiple of the group size.
  void set_quantization(const kernels::Quantization& quantization, const std::string& path);

  // Keeps the loaded weight as int8 rows too (kernels/int8_rows.h), for the products of prompt
  // rows; returns their bytes. A stack stays as it is.
  size_t keep_int8_rows();

  // For the visitor that loads a stack whose matrices [out, in] lie apart, or turned: products read
  // these, and copy those that are not in rows. The parameter `weight` is all of them in one, for
  // who must have it so.
  void set_matrices(std::vector<mx::array> matrices);
  // Those, or none.
  const std::vector<mx::array>& matrices() const { return matrices_; }

  // Shows itself as quantizable, then its arrays.
  void visit(Visitor& visitor) override;

  int out_size() const { return out_; }
  int in_size() const { return in_; }
  // How the weight is quantised, if it is.
  const std::optional<kernels::Quantization>& quantization() const { return quantization_; }
  // Of the weight, or of its scales where it is quantised (bfloat16 where those are no floats).
  // What a model computes with follows it: float32 stays exact, anything else has lost more than
  // products in bfloat16 lose.
  mx::Dtype dtype() const;

 protected:
  // As kernels take it, its products with this bias.
  kernels::Weight weight(const std::optional<mx::array>& bias) const;
  // One of a stack, whose views are made at first use.
  kernels::Weight weight_of(int which) const;
  // Whether weight_of() copies what it gives.
  bool is_turned() const { return !matrices_.empty() && !matrices_[0].flags().row_contiguous; }

 private:
  struct Arrays {
    mx::array weight;
    mx::array scales;
    mx::array biases;
  };
  mx::Shape stack_of(int rows, int columns) const;
  kernels::Weight as_weight(const Arrays& arrays) const;

  int out_;
  int in_;
  int stacked_;
  std::optional<kernels::Quantization> quantization_;
  mx::array weight_;
  mx::array scales_;
  mx::array biases_;
  mutable std::vector<Arrays> views_;  // of a stack
  std::vector<mx::array> matrices_;
  std::shared_ptr<const kernels::Int8Rows> int8_rows_;
};

class Linear : public QuantizableWeight {
 public:
  enum class Bias { kNone, kPresent };
  Linear(int in, int out, Bias bias);
  mx::array operator()(const mx::array& x, const kernels::Epilogue& end = {}) const {
    if (auto* tap = InputTap::current()) tap->input(*this, x);
    return kernels::linear(x, weight(), end);
  }
  // For ops that take more than one.
  kernels::Weight weight() const { return QuantizableWeight::weight(bias_); }
  void visit(Visitor& visitor) override;

 private:
  std::optional<mx::array> bias_;
};

class Embedding : public QuantizableWeight {
 public:
  Embedding(int vocab, int dim) : QuantizableWeight(vocab, dim) {}
  // ids in [0, vocab) -> float32 [T, D].
  mx::array operator()(std::span<const int32_t> ids) const;
  // The whole table as float32 [vocab, D].
  mx::array all() const;
  // As the output head of a model with tied weights: x[..., D] -> [..., vocab].
  kernels::Weight weight() const { return QuantizableWeight::weight({}); }
};

}  // namespace fovea::nn
