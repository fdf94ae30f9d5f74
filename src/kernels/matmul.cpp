#include "kernels/matmul.h"

#include <cassert>
#include <span>
#include <utility>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
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

// Weights come from mapped files and are row-major; a view of another layout is copied once here.
mx::array row_major(const mx::array& a) {
  return a.is_available() && a.flags().row_contiguous ? a : mx::contiguous(a);
}

// Where the parts of a weight stand among an op's inputs: values, scales and biases when it is
// quantised, and its products' bias last.
struct WeightSlots {
  size_t first = 0;
  int n = 0;
  int k = 0;
  std::optional<Quantization> quantization;
  bool has_bias = false;

  size_t bias() const { return first + (quantization ? 3 : 1); }

  isa::WeightRows rows(const Arrays& in) const {
    isa::WeightRows rows;
    rows.k = k;
    rows.data = in[first].data<void>();
    if (!quantization) {
      rows.dtype = float_kind(in[first]);
      return rows;
    }
    rows.dtype = float_kind(in[first + 1]);
    rows.bits = quantization->bits;
    rows.group_size = quantization->group_size;
    rows.scales = in[first + 1].data<void>();
    rows.biases = in[first + 2].data<void>();
    return rows;
  }
};

void check_quantized(const Weight& weight) {
  const auto& [group, bits] = *weight.quantization;
  const auto& w = weight.values;
  const bool parts = weight.scales && weight.biases && w.ndim() == 2;
  const bool shapes = parts && weight.scales->shape() == weight.biases->shape() &&
                      weight.scales->ndim() == 2 && weight.scales->shape(0) == w.shape(0) &&
                      weight.scales->dtype() == weight.biases->dtype() &&
                      int64_t{w.shape(1)} * 32 == int64_t{weight.scales->shape(1)} * group * bits;
  if (weight.quantization->is_supported() && shapes && w.dtype() == mx::uint32) return;
  fail(ErrorKind::kInvalidData,
       "[quantized_matmul] expected 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128 but got {} "
       "bits in groups of {} with shapes {} and {}",
       bits, group, shape_text(w), weight.scales ? shape_text(*weight.scales) : "none");
}

// Checks a weight and appends its parts.
WeightSlots append_weight(const Weight& weight, Arrays& inputs) {
  WeightSlots slots;
  slots.first = inputs.size();
  slots.quantization = weight.quantization;
  inputs.push_back(row_major(weight.values));
  if (weight.quantization) {
    check_quantized(weight);
    slots.k = weight.scales->shape(1) * weight.quantization->group_size;
    inputs.push_back(row_major(*weight.scales));
    inputs.push_back(row_major(*weight.biases));
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
  inputs.push_back(mx::astype(*weight.bias, mx::float32));
  return slots;
}

// Few rows are split finely enough for all threads, many rows coarsely; the sums are the same.
constexpr int kColumnGrain = 16;

void for_columns(int n_count, const std::function<void(int, int)>& body) {
  parallel_for((n_count + 3) / 4, kColumnGrain / 4,
               [&](int begin, int end) { body(begin * 4, std::min(end * 4, n_count)); });
}

// A weight's values, and the bias of its products or null.
struct Factor {
  isa::WeightRows w;
  const float* bias = nullptr;
};

// Rows of one kind of a product, and what follows it.
struct ProductRows {
  const float* x;
  int count;
  int n;
  Factor weight;
  const Factor* gate;
  isa::Activation activation;
  const float* residual;  // null, or as y
  float* y;

  int k() const { return weight.w.k; }
  // `begin` rows further, `rows` of them.
  ProductRows part(int begin, int rows) const {
    ProductRows some = *this;
    some.x += int64_t{begin} * k();
    some.y += int64_t{begin} * n;
    if (residual) some.residual += int64_t{begin} * n;
    some.count = rows;
    return some;
  }
};

void run_exact(const ProductRows& rows, const Factor& factor, float* y) {
  const auto& w = factor.w;
  for_columns(rows.n, [&](int begin, int end) {
    thread_local std::vector<float> scratch;
    const size_t needed = static_cast<size_t>(isa::panel_columns(w.k)) * static_cast<size_t>(w.k);
    isa::table().product(rows.x, rows.count, w, begin, end, factor.bias, y, rows.n,
                         kept(scratch, needed));
  });
}

// x as the variant wants it, row by row, in memory of the calling thread.
const std::byte* prepared(const ProductRows& rows, const isa::WeightRows& w, size_t row_bytes,
                          void (*prepare)(const float*, const isa::WeightRows&, std::byte*)) {
  thread_local std::vector<std::byte> memory;
  std::byte* out = kept(memory, row_bytes * static_cast<size_t>(rows.count));
  constexpr int kRowGrain = 8;
  parallel_for(rows.count, kRowGrain, [&](int begin, int end) {
    for (int m = begin; m < end; ++m) {
      prepare(rows.x + int64_t{m} * w.k, w, out + static_cast<size_t>(m) * row_bytes);
    }
  });
  return out;
}

bool rounds(const mx::array& values) {
  return values.dtype() != mx::float32 && isa::table().prompt_bf16.product &&
         numerics() != Numerics::kFloat32;
}

void run_prompt(const ProductRows& rows, const isa::PromptRows& how) {
  const auto& w = rows.weight.w;
  thread_local std::vector<std::byte> memory;
  const size_t block_bytes = how.block_bytes(w);
  const int blocks = (rows.count + how.block_rows - 1) / how.block_rows;
  std::byte* x = kept(memory, block_bytes * static_cast<size_t>(blocks));
  parallel_for(blocks, 1, [&](int begin, int end) {
    for (int b = begin; b < end; ++b) {
      const int row = b * how.block_rows;
      how.prepare(rows.x + int64_t{row} * w.k, std::min(how.block_rows, rows.count - row), w,
                  x + static_cast<size_t>(b) * block_bytes);
    }
  });
  isa::PromptProduct product;
  product.x = x;
  product.rows = rows.count;
  product.w = w;
  product.bias = rows.weight.bias;
  if (rows.gate) {
    product.gate = &rows.gate->w;
    product.gate_bias = rows.gate->bias;
  }
  product.activation = rows.activation;
  product.residual = rows.residual;
  product.y = rows.y;
  product.y_stride = rows.n;
  const int panels = (rows.n + how.panel_columns - 1) / how.panel_columns;
  parallel_for(panels, 1, [&](int begin, int end) {
    thread_local std::vector<std::byte> scratch;
    how.product(product, begin * how.panel_columns, std::min(rows.n, end * how.panel_columns),
                kept(scratch, isa::kPromptScratchBytes));
  });
}

void run_decode_product(const ProductRows& rows, const Factor& factor, float* y) {
  const auto& isa = isa::table();
  const auto& w = factor.w;
  if (w.bits == 0) return run_exact(rows, factor, y);
  const auto* x = prepared(rows, w, isa.decode_row_bytes(w), isa.prepare_decode_row);
  for_columns(rows.n, [&](int begin, int end) {
    isa.decode_product(x, rows.count, w, begin, end, factor.bias, y, rows.n);
  });
}

// Few rows: what follows the product goes over it again.
void run_decode(const ProductRows& rows) {
  const size_t count = static_cast<size_t>(rows.count) * static_cast<size_t>(rows.n);
  run_decode_product(rows, rows.weight, rows.y);
  if (rows.gate) {
    thread_local std::vector<float> memory;
    float* gate = kept(memory, count);
    run_decode_product(rows, *rows.gate, gate);
    activate(rows.activation, gate, count, gate);
    for (size_t i = 0; i < count; ++i) rows.y[i] *= gate[i];
  } else {
    activate(rows.activation, rows.y, count, rows.y);
  }
  if (!rows.residual) return;
  for (size_t i = 0; i < count; ++i) rows.y[i] += rows.residual[i];
}

// How the rows of a product are computed.
struct RowPlan {
  int prompt_rows;  // the rest are decode rows
  bool rounds;      // prompt rows go through bfloat16

  // The largest difference from exact float32, as a share of the largest value.
  float tolerance(bool decodes) const { return decodes ? 4e-2f : rounds ? 2e-2f : 1e-4f; }
};

void run_product(const ProductRows& rows, const RowPlan& plan) {
  const auto& isa = isa::table();
  const int decode_rows = rows.count - plan.prompt_rows;
  if (plan.prompt_rows > 0) {
    run_prompt(rows.part(0, plan.prompt_rows), plan.rounds ? isa.prompt_bf16 : isa.prompt_f32);
  }
  if (decode_rows > 0) run_decode(rows.part(plan.prompt_rows, decode_rows));
}

// The inputs of a product with one weight or two: x, the weights, and a residual.
struct ProductOp {
  WeightSlots weight;
  std::optional<WeightSlots> gate;
  Activation activation = Activation::kNone;
  bool has_residual = false;

  Factor factor(const Arrays& in, const WeightSlots& slots, std::optional<Floats>& bias) const {
    if (slots.has_bias) bias.emplace(in[slots.bias()]);
    return {slots.rows(in), bias ? bias->data() : nullptr};
  }

  void run(const Arrays& in, const RowPlan& plan, float* y) const {
    const Floats x(in[0]);
    std::optional<Floats> bias, gate_bias, residual;
    if (has_residual) residual.emplace(in.back());
    const Factor main = factor(in, weight, bias);
    const Factor gating = gate ? factor(in, *gate, gate_bias) : Factor{};
    const int count = static_cast<int>(in[0].size() / static_cast<size_t>(std::max(weight.k, 1)));
    run_product({x.data(), count, weight.n, main, gate ? &gating : nullptr, activation,
                 residual ? residual->data() : nullptr, y},
                plan);
  }
};

// In plain MLX ops.
mx::array plain_product(const Arrays& in, const WeightSlots& slots) {
  const auto part = [&](size_t i) { return mx::astype(in[slots.first + i], mx::float32); };
  const auto y = slots.quantization ? mx::quantized_matmul(in[0], in[slots.first], part(1), part(2),
                                                           true, slots.quantization->group_size,
                                                           slots.quantization->bits)
                                    : mx::matmul(in[0], mx::transpose(part(0)));
  return slots.has_bias ? mx::add(y, in[slots.bias()]) : y;
}

mx::array plain(const ProductOp& op, const Arrays& in) {
  mx::array y = plain_product(in, op.weight);
  y = op.gate ? mx::multiply(plain_activation(op.activation, plain_product(in, *op.gate)), y)
              : plain_activation(op.activation, y);
  return op.has_residual ? mx::add(in.back(), y) : y;
}

mx::array make_product(const char* name, const ProductOp& op, mx::Shape shape,
                       const Arrays& inputs) {
  const int rows =
      static_cast<int>(inputs[0].size() / static_cast<size_t>(std::max(op.weight.k, 1)));
  const RowPlan plan{first_decode_row(rows), rounds(inputs[op.weight.first])};
  const float tolerance = plan.tolerance(op.weight.quantization && plan.prompt_rows < rows);
  return make_op(
      {name, std::move(shape), [op, plan](const Arrays& in, float* y) { op.run(in, plan, y); },
       [op](const Arrays& in) { return plain(op, in); }, tolerance},
      inputs);
}

// The output's shape.
mx::Shape product_shape(const mx::array& x, const WeightSlots& weight) {
  if (x.ndim() == 0 || x.shape(-1) != weight.k) {
    fail(ErrorKind::kInvalidData, "[matmul] expected {} inputs but got x of shape {}", weight.k,
         shape_text(x));
  }
  mx::Shape shape = x.shape();
  shape.back() = weight.n;
  return shape;
}

}  // namespace

mx::array linear(const mx::array& x, const Weight& weight, const Epilogue& end) {
  Arrays inputs = {mx::astype(x, mx::float32)};
  ProductOp op;
  op.weight = append_weight(weight, inputs);
  op.activation = end.activation;
  mx::Shape shape = product_shape(x, op.weight);
  if (end.residual) {
    if (end.residual->shape() != shape) {
      fail(ErrorKind::kInvalidData, "[linear] expected a residual of shape [{}] but got {}",
           fmt::join(shape.begin(), shape.end(), ", "), shape_text(*end.residual));
    }
    op.has_residual = true;
    inputs.push_back(mx::astype(*end.residual, mx::float32));
  }
  const char* name = weight.quantization ? "fovea::quantized_matmul" : "fovea::matmul";
  return make_product(name, op, std::move(shape), inputs);
}

namespace {

// Whether rows are prepared alike for both.
bool same_kind(const Weight& a, const Weight& b) {
  if (a.quantization.has_value() != b.quantization.has_value()) return false;
  return a.quantization ? *a.quantization == *b.quantization : a.values.dtype() == b.values.dtype();
}

}  // namespace

mx::array gated_linear(const mx::array& x, const Weight& gate, const Weight& up,
                       Activation activation) {
  if (!same_kind(gate, up)) {
    return mx::multiply(linear(x, gate, {activation, {}}), linear(x, up));
  }
  Arrays inputs = {mx::astype(x, mx::float32)};
  ProductOp op;
  op.weight = append_weight(up, inputs);
  op.gate = append_weight(gate, inputs);
  op.activation = activation;
  mx::Shape shape = product_shape(x, op.weight);
  if (op.gate->n != op.weight.n || op.gate->k != op.weight.k) {
    fail(ErrorKind::kInvalidData, "[gated_linear] expected weights of one shape but got {} and {}",
         shape_text(gate.values), shape_text(up.values));
  }
  return make_product("fovea::gated_linear", op, std::move(shape), inputs);
}

mx::array matmul(const mx::array& x, const mx::array& w_NK, const std::optional<mx::array>& bias) {
  return linear(x, {w_NK, bias, {}, {}, {}});
}

mx::array quantized_matmul(const mx::array& x, const mx::array& w, const mx::array& scales,
                           const mx::array& biases, const Quantization& quantization,
                           const std::optional<mx::array>& bias) {
  return linear(x, {w, bias, quantization, scales, biases});
}

mx::array embedding(const mx::array& ids, const Weight& table) {
  Arrays inputs = {mx::contiguous(mx::astype(ids, mx::int32))};
  const WeightSlots slots = append_weight(table, inputs);
  const auto run = [slots, count = ids.shape(0)](const Arrays& in, float* out) {
    const auto w = slots.rows(in);
    const int* wanted = in[0].data<int>();
    for (int i = 0; i < count; ++i) {
      assert(wanted[i] >= 0 && wanted[i] < slots.n);
      isa::table().expand_row(w, wanted[i], out + static_cast<size_t>(i) * slots.k);
    }
  };
  const auto fallback = [slots](const Arrays& in) {
    const auto rows = [&](size_t i) { return mx::take(in[i], in[0], 0); };
    if (!slots.quantization) return mx::astype(rows(1), mx::float32);
    return mx::dequantize(rows(1), mx::astype(rows(2), mx::float32),
                          mx::astype(rows(3), mx::float32), slots.quantization->group_size,
                          slots.quantization->bits);
  };
  return make_op({"fovea::embedding", {ids.shape(0), slots.k}, run, fallback}, inputs);
}

}  // namespace fovea::kernels
