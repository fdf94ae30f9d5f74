#include "kernels/activation.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kElementGrain = 8192;
constexpr float kInverseRoot2 = 0.70710678f;

using Elementwise = void (*)(const float*, size_t, float*);

Elementwise loop_of(Activation activation) {
  const auto& isa = isa::table();
  switch (activation) {
    case Activation::kSilu:
      return isa.silu;
    case Activation::kGeluExact:
      return isa.gelu_exact;
    case Activation::kGeluTanh:
      return isa.gelu_tanh;
    case Activation::kGeluQuick:
      return isa.gelu_quick;
    default:
      return nullptr;
  }
}

mx::array scaled(const mx::array& x, float by) { return mx::multiply(x, mx::array(by)); }

// x (1 + bent) / 2.
mx::array gelu_from(const mx::array& x, const mx::array& bent) {
  return mx::multiply(scaled(x, 0.5f), mx::add(bent, mx::array(1.0f)));
}

mx::array elementwise(const char* name, const mx::array& x, Activation activation) {
  const auto run = [activation](const Arrays& in, float* y) {
    const Floats values(in[0]);
    const size_t count = in[0].size();
    const auto pieces = static_cast<int>((count + kElementGrain - 1) / kElementGrain);
    parallel_for(pieces, 1, [&](int begin, int end) {
      const size_t from = static_cast<size_t>(begin) * kElementGrain;
      const size_t to = std::min(count, static_cast<size_t>(end) * kElementGrain);
      activate(activation, values.data() + from, to - from, y + from);
    });
  };
  const auto fallback = [activation](const Arrays& in) {
    return plain_activation(activation, in[0]);
  };
  return make_op({name, x.shape(), run, fallback}, {mx::astype(x, mx::float32)});
}

}  // namespace

Activation activation_of(Gelu kind) {
  if (kind == Gelu::kExact) return Activation::kGeluExact;
  return kind == Gelu::kTanh ? Activation::kGeluTanh : Activation::kGeluQuick;
}

void activate(Activation activation, const float* x, size_t n, float* y) {
  if (const auto loop = loop_of(activation)) return loop(x, n, y);
  if (x != y) std::copy(x, x + n, y);
}

mx::array plain_activation(Activation activation, const mx::array& x) {
  switch (activation) {
    case Activation::kSilu:
      return mx::multiply(x, mx::sigmoid(x));
    case Activation::kGeluQuick:
      return mx::multiply(x, mx::sigmoid(scaled(x, 1.702f)));
    case Activation::kGeluExact:
      return gelu_from(x, mx::erf(scaled(x, kInverseRoot2)));
    case Activation::kGeluTanh: {
      const auto cube = mx::multiply(x, mx::square(x));
      return gelu_from(x, mx::tanh(scaled(mx::add(x, scaled(cube, 0.044715f)), 0.7978845608f)));
    }
    default:
      return x;
  }
}

mx::array swiglu(const mx::array& gate, const mx::array& up) {
  if (gate.shape() != up.shape()) {
    fail(ErrorKind::kInvalidData, "[swiglu] expected equal shapes but got {} and {}",
         shape_text(gate), shape_text(up));
  }
  const auto run = [count = static_cast<int>(gate.size())](const Arrays& in, float* y) {
    const Floats g(in[0]);
    const Floats u(in[1]);
    parallel_for(count, kElementGrain, [&](int begin, int end) {
      isa::table().swiglu(g.data() + begin, u.data() + begin, static_cast<size_t>(end - begin),
                          y + begin);
    });
  };
  const auto fallback = [](const Arrays& in) {
    return mx::multiply(mx::multiply(in[0], mx::sigmoid(in[0])), in[1]);
  };
  return make_op({"fovea::swiglu", gate.shape(), run, fallback},
                 {mx::astype(gate, mx::float32), mx::astype(up, mx::float32)});
}

mx::array silu(const mx::array& x) { return elementwise("fovea::silu", x, Activation::kSilu); }

mx::array gelu(const mx::array& x, Gelu kind) {
  return elementwise("fovea::gelu", x, activation_of(kind));
}

}  // namespace fovea::kernels
