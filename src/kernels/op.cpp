#include "kernels/op.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "kernels/check.h"
#include "kernels/memory.h"
#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/transforms.h"
#include "mlx/utils.h"

namespace fovea::kernels {
namespace {

thread_local int scopes_at_once = 0;
thread_local bool computing_at_once = false;  // and not by MLX's own evaluation of an older node

struct Computing {
  Computing() { computing_at_once = true; }
  ~Computing() { computing_at_once = false; }
};

class KernelPrimitive : public mx::Primitive {
 public:
  KernelPrimitive(mx::Stream stream, MultiOp op) : Primitive(stream), op_(std::move(op)) {}

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    std::vector<float*> to;
    to.reserve(outputs.size());
    for (auto& out : outputs) {
      out.set_data(mx::allocator::malloc(out.nbytes()));
      to.push_back(out.data<float>());
    }
    if (computing_at_once) {
      op_.run(inputs, to.data());
      give_back_passing(inputs);
      return;
    }
    Arrays held;
    held.reserve(inputs.size());
    for (const auto& input : inputs) held.push_back(mx::array::unsafe_weak_copy(input));
    run_in_turn(stream(), [run = op_.run, held = std::move(held), to = std::move(to)] {
      run(held, to.data());
      give_back_passing(held);
    });
  }

  void eval_gpu(const Arrays&, Arrays&) override {
    // make_op gives other devices the fallback.
    throw std::logic_error("a CPU kernel was asked to run on another device");
  }

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const std::vector<int>& argnums,
             const Arrays&) override {
    if (op_.gradient) return op_.gradient(primals, cotangents, argnums);
    Arrays wanted;
    for (const int i : argnums) wanted.push_back(primals[static_cast<size_t>(i)]);
    const auto outer = [&](const Arrays& chosen) {
      Arrays all = primals;
      for (size_t i = 0; i < argnums.size(); ++i) all[static_cast<size_t>(argnums[i])] = chosen[i];
      return op_.fallback(all);
    };
    return mx::vjp(outer, wanted, cotangents).second;
  }

  const char* name() const override { return op_.name; }
  bool is_equivalent(const mx::Primitive&) const override { return false; }

 private:
  MultiOp op_;
};

}  // namespace

mx::array make_op(Op op, const Arrays& inputs) {
  MultiOp many{op.name, {std::move(op.shape)}, nullptr, nullptr, op.tolerance};
  many.run = [one = std::move(op.run)](const Arrays& in, float* const* out) { one(in, out[0]); };
  many.fallback = [one = std::move(op.fallback)](const Arrays& in) { return Arrays{one(in)}; };
  if (op.gradient) {
    many.gradient = [one = std::move(op.gradient)](const Arrays& in, const Arrays& cotangents,
                                                   const std::vector<int>& wanted) {
      return one(in, cotangents[0], wanted);
    };
  }
  return make_multi_op(std::move(many), inputs)[0];
}

Arrays make_multi_op(MultiOp op, const Arrays& inputs) {
  const auto stream = mx::default_stream(mx::default_device());
  if (stream.device != mx::Device::cpu) return op.fallback(inputs);
  const char* name = op.name;
  // Only a check needs these after the op is given away; each node would copy what they hold.
  const auto fallback = checks_on() ? op.fallback : nullptr;
  const float tolerance = op.tolerance;
  auto shapes = std::move(op.shapes);
  const std::vector<mx::Dtype> dtypes(shapes.size(), mx::float32);
  Arrays outputs = make_nodes(std::move(shapes), dtypes,
                              std::make_shared<KernelPrimitive>(stream, std::move(op)), inputs);
  if (!fallback) return outputs;
  const Arrays expected = fallback(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    compare_with_fallback(name, outputs[i], expected[i], tolerance);
  }
  return outputs;
}

bool at_once() { return scopes_at_once > 0; }
AtOnce::AtOnce() { ++scopes_at_once; }
AtOnce::~AtOnce() { --scopes_at_once; }

Arrays make_nodes(std::vector<mx::Shape> shapes, const std::vector<mx::Dtype>& dtypes,
                  const std::shared_ptr<mx::Primitive>& primitive, const Arrays& inputs) {
  if (!at_once()) return mx::array::make_arrays(std::move(shapes), dtypes, primitive, inputs);
  Arrays owed;
  for (const auto& input : inputs) {
    if (!input.is_available()) owed.push_back(input);
  }
  if (!owed.empty()) mx::eval(owed);
  Arrays outputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    outputs.emplace_back(std::move(shapes[i]), dtypes[i], nullptr, Arrays());
  }
  {
    const Computing now;
    primitive->eval_cpu(inputs, outputs);
  }
  for (auto& output : outputs) output.set_status(mx::array::Status::available);
  return outputs;
}

void run_in_turn(mx::Stream stream, std::function<void()> work) {
  if (computing_at_once) return work();
  mx::cpu::get_command_encoder(stream).dispatch(std::move(work));
}

template <class T>
Elements<T>::Elements(const mx::array& a) {
  if (a.flags().row_contiguous || a.size() == 0) {
    data_ = a.data<T>();
    return;
  }
  // The last axes that lie without gaps are copied as one run; most views are columns of a wider
  // array, so a run is a row.
  int axis = static_cast<int>(a.ndim());
  int64_t run = 1;
  while (axis > 0 && (a.strides()[axis - 1] == run || a.shape(axis - 1) == 1)) {
    run *= a.shape(--axis);
  }
  copy_.resize(a.size());
  data_ = copy_.data();
  const T* base = a.data<T>();
  const auto start_of = [&](int64_t number) {
    int64_t at = 0;
    for (int outer = axis; outer-- > 0;) {
      at += number % a.shape(outer) * a.strides()[outer];
      number /= a.shape(outer);
    }
    return base + at;
  };
  constexpr int64_t kGrain = 16384;  // elements, below which a thread is not worth waking
  const auto runs = static_cast<int>(static_cast<int64_t>(a.size()) / run);
  parallel_for(runs, static_cast<int>(std::max<int64_t>(1, kGrain / run)), [&](int begin, int end) {
    for (int64_t r = begin; r < end; ++r) {
      std::copy_n(start_of(r), run, copy_.data() + r * run);
    }
  });
}
template class Elements<float>;
template class Elements<uint16_t>;
template class Elements<uint8_t>;

int row_count(const mx::array& x) {
  if (x.ndim() == 0) return 0;
  return static_cast<int>(x.size() / static_cast<size_t>(std::max(1, x.shape(-1))));
}

std::string shape_text(const mx::array& a) {
  return fmt::format("[{}]", fmt::join(a.shape().begin(), a.shape().end(), ", "));
}

std::string dtype_text(const mx::array& a) {
  std::ostringstream text;
  text << a.dtype();
  return text.str();
}

}  // namespace fovea::kernels
