#include "kernels/activation.h"

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kElementGrain = 8192;
constexpr float kInverseRoot2 = 0.70710678f;

using Elementwise = void (*)(const float*, size_t, float*);

Elementwise gelu_loop(Gelu kind) {
  if (kind == Gelu::kExact) return isa::table().gelu_exact;
  return kind == Gelu::kTanh ? isa::table().gelu_tanh : isa::table().gelu_quick;
}

mx::array scaled(const mx::array& x, float by) { return mx::multiply(x, mx::array(by)); }

mx::array gelu_fallback(const mx::array& x, Gelu kind) {
  if (kind == Gelu::kQuick) return mx::multiply(x, mx::sigmoid(scaled(x, 1.702f)));
  mx::array inner = scaled(x, kInverseRoot2);
  if (kind == Gelu::kTanh) {
    const auto cube = mx::multiply(x, mx::square(x));
    inner = scaled(mx::add(x, scaled(cube, 0.044715f)), 0.7978845608f);
  }
  const auto bent = kind == Gelu::kTanh ? mx::tanh(inner) : mx::erf(inner);
  return mx::multiply(scaled(x, 0.5f), mx::add(bent, mx::array(1.0f)));
}

mx::array elementwise(const char* name, const mx::array& x, Elementwise loop,
                      std::function<mx::array(const Arrays&)> fallback) {
  const auto run = [loop, count = static_cast<int>(x.size())](const Arrays& in, float* y) {
    const Floats values(in[0]);
    parallel_for(count, kElementGrain, [&](int begin, int end) {
      loop(values.data() + begin, static_cast<size_t>(end - begin), y + begin);
    });
  };
  return make_op({name, x.shape(), run, std::move(fallback)}, {mx::astype(x, mx::float32)});
}

}  // namespace

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

mx::array silu(const mx::array& x) {
  return elementwise("fovea::silu", x, isa::table().silu,
                     [](const Arrays& in) { return mx::multiply(in[0], mx::sigmoid(in[0])); });
}

mx::array gelu(const mx::array& x, Gelu kind) {
  return elementwise("fovea::gelu", x, gelu_loop(kind),
                     [kind](const Arrays& in) { return gelu_fallback(in[0], kind); });
}

}  // namespace fovea::kernels
