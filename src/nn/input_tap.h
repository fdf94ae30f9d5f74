// Shows what modules multiply their weights with, to whoever calibrates them. Engine thread only.
#pragma once

#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

class QuantizableWeight;

// While one lives, products with a weight by itself (Linear) and those of decoder blocks tell it
// their input: once where several weights share it, with the first of them. Only experts of a
// mixture stay silent. One at a time.
class InputTap {
 public:
  InputTap();
  virtual ~InputTap();
  InputTap(const InputTap&) = delete;
  InputTap& operator=(const InputTap&) = delete;

  // x[..., in], which may not be evaluated yet.
  virtual void input(const QuantizableWeight& weight, const mx::array& x) = 0;

  // The one that lives, or null.
  static InputTap* current();
};

}  // namespace fovea::nn
