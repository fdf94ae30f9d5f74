// The pattern of every hot op: validate, then make one node of the MLX graph that runs our kernel
// on the CPU and carries the same computation in plain MLX ops. That fallback serves other devices,
// gives the gradient, and is what tests and --check-kernels compare with. Engine thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

using Arrays = std::vector<mx::array>;

struct Op {
  const char* name;
  mx::Shape shape;  // of the float32 output
  // Fills the output (row-major, allocated) from the inputs, which are evaluated and may be
  // strided. Runs on MLX's stream thread, or the engine's (AtOnce); must not throw.
  std::function<void(const Arrays& inputs, float* output)> run;
  std::function<mx::array(const Arrays& inputs)> fallback;
  float tolerance = 1e-4f;  // of the largest value, for --check-kernels
  // The gradients of inputs `wanted`, where the fallback's would be slow; may be empty.
  std::function<Arrays(const Arrays& inputs, const mx::array& cotangent,
                       const std::vector<int>& wanted)>
      gradient = nullptr;
};

// The same with several outputs.
struct MultiOp {
  const char* name;
  std::vector<mx::Shape> shapes;
  std::function<void(const Arrays& inputs, float* const* outputs)> run;
  std::function<Arrays(const Arrays& inputs)> fallback;
  float tolerance = 1e-4f;
  std::function<Arrays(const Arrays& inputs, const Arrays& cotangents,
                       const std::vector<int>& wanted)>
      gradient = nullptr;
};

// The op's output for these inputs. While checks are on (check.h) kernel and fallback both run now
// and are compared.
mx::array make_op(Op op, const Arrays& inputs);
Arrays make_multi_op(MultiOp op, const Arrays& inputs);

// While one lives, ops are computed as they are made, on the calling thread, and their results are
// available at once: for steps of few rows, where handing each over to MLX's stream thread costs
// more than its work. Inputs that MLX still owes are waited for. There is no graph then, so no
// gradient; the bits are the same. For the thread that makes it.
class AtOnce {
 public:
  AtOnce();
  ~AtOnce();
  AtOnce(const AtOnce&) = delete;
  AtOnce& operator=(const AtOnce&) = delete;
};

bool at_once();

// What ops are made with: nodes of MLX's graph, or their results (AtOnce). eval_cpu of `primitive`
// hands its work to run_in_turn(), which waits in MLX's stream or does it now.
Arrays make_nodes(std::vector<mx::Shape> shapes, const std::vector<mx::Dtype>& dtypes,
                  const std::shared_ptr<mx::Primitive>& primitive, const Arrays& inputs);
void run_in_turn(mx::Stream stream, std::function<void()> work);

// A row-major view of an evaluated array whose elements are laid out as T (float for float32,
// uint16_t for the bits of bfloat16, uint8_t for uint8): the array's own memory when it is laid out
// so, else a copy.
template <class T>
class Elements {
 public:
  explicit Elements(const mx::array& a);
  const T* data() const { return data_; }

 private:
  std::vector<T> copy_;
  const T* data_;
};

using Floats = Elements<float>;
using Halves = Elements<uint16_t>;

// Room for `count` values at a multiple of 64 bytes in `memory`, which a thread keeps, since fresh
// pages would cost more than the product of a single row. It shrinks only from what a long prompt
// needed to what a short row does.
template <class T>
T* kept(std::vector<T>& memory, size_t count) {
  constexpr size_t kAlignment = 64;
  constexpr size_t kLarge = (size_t{16} << 20) / sizeof(T);
  const bool is_too_large = memory.size() > kLarge && count < memory.size() / 16;
  const bool is_too_small = memory.size() < count + kAlignment;
  if (is_too_large || is_too_small) {
    memory = std::vector<T>();  // first, so that old and new are not there together
    memory.resize(count + kAlignment);
  }
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return memory.data() + (kAlignment - address % kAlignment) % kAlignment / sizeof(T);
}

// Rows of x[..., K]; 0 of what has no axis.
int row_count(const mx::array& x);

// "[2, 3]", for error messages.
std::string shape_text(const mx::array& a);

// "float32", for error messages.
std::string dtype_text(const mx::array& a);

}  // namespace fovea::kernels
