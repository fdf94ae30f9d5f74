// Normalisation layers. Engine thread only.
#pragma once

#include <optional>

#include "kernels/norm.h"
#include "mlx/ops.h"
#include "nn/module.h"

namespace fovea::nn {

class RmsNorm : public Module {
 public:
  // `weight_offset` is added to the weights: 1 where a checkpoint stores them around zero.
  RmsNorm(int dim, float eps, float weight_offset = 0)
      : eps_(eps), weight_offset_(weight_offset), weight_(mx::zeros({dim})) {}
  mx::array operator()(const mx::array& x) const {
    return kernels::rms_norm(x, weight_, eps_, weight_offset_);
  }
  // For ops that begin with it (kernels/projection.h).
  kernels::RowNorm row_norm() const { return {weight_, eps_, weight_offset_}; }
  void visit(Visitor& visitor) override { visitor.parameter("weight", weight_); }

 private:
  float eps_;
  float weight_offset_;
  mx::array weight_;
};

class LayerNorm : public Module {
 public:
  LayerNorm(int dim, float eps) : eps_(eps), weight_(mx::zeros({dim})), bias_(mx::zeros({dim})) {}
  mx::array operator()(const mx::array& x) const {
    return kernels::layer_norm(x, weight_, bias_, eps_);
  }
  void visit(Visitor& visitor) override {
    visitor.parameter("weight", weight_);
    visitor.parameter("bias", bias_);
  }

 private:
  float eps_;
  mx::array weight_;
  mx::array bias_;
};

// One of the two, as a config says.
class Norm : public Module {
 public:
  enum class Kind { kRms, kLayer };
  Norm(Kind kind, int dim, float eps) : eps_(eps), weight_(mx::zeros({dim})) {
    if (kind == Kind::kLayer) bias_ = mx::zeros({dim});
  }
  mx::array operator()(const mx::array& x) const {
    return bias_ ? kernels::layer_norm(x, weight_, *bias_, eps_)
                 : kernels::rms_norm(x, weight_, eps_);
  }
  void visit(Visitor& visitor) override {
    visitor.parameter("weight", weight_);
    if (bias_) visitor.parameter("bias", *bias_);
  }

 private:
  float eps_;
  mx::array weight_;
  std::optional<mx::array> bias_;
};

}  // namespace fovea::nn
