#include "kernels/matmul.h"

#include <cassert>
#include <span>
#include <utility>

#include "base/error.h"
#include "kernels/decode_products.h"
#include "kernels/isa/isa.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "kernels/product_gradient.h"
#include "kernels/prompt_rows.h"
#include "kernels/views.h"
#include "kernels/weight_slots.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::kernels {
namespace {

// A weight's values, the bias of its products or null, and where prompt rows multiply integers the
// same values as those.
struct Factor {
  isa::WeightRows w;
  const float* bias = nullptr;
  isa::WeightRows int8 = {};
};

isa::WeightRows rows_of(const Int8Rows& int8) {
  isa::WeightRows w;
  w.k = int8.values.shape(1);
  w.dtype = isa::Float::kI8;
  w.data = int8.values.data<void>();
  w.scales = int8.scales.data<void>();
  w.biases = int8.sums.data<void>();
  return w;
}

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

// How prompt rows are multiplied.
enum class PromptKind { kFloat32, kBfloat16, kInt8 };

void run_prompt(const ProductRows& rows, PromptKind kind) {
  const auto& isa = isa::table();
  const bool int8 = kind == PromptKind::kInt8;
  const auto& how = int8                            ? isa.prompt_int8
                    : kind == PromptKind::kBfloat16 ? isa.prompt_bf16
                                                    : isa.prompt_f32;
  const auto& w = int8 ? rows.weight.int8 : rows.weight.w;
  isa::PromptProduct product;
  product.rows = rows.count;
  product.n = rows.n;
  product.w = w;
  product.bias = rows.weight.bias;
  if (rows.gate) {
    product.gate = int8 ? &rows.gate->int8 : &rows.gate->w;
    product.gate_bias = rows.gate->bias;
  }
  product.activation = rows.activation;
  product.y = rows.y;
  product.y_stride = rows.n;
  multiply_prompt_rows(how, product, rows.x);
}

// What follows a product goes over its columns as they come.
void run_decode(const ProductRows& rows) {
  const auto weight_of = [&](const Factor& factor) {
    return DecodeWeight{factor.w, rows.n, factor.bias, rows.y};
  };
  if (rows.gate) {
    return decode_gated(rows.x, rows.count, weight_of(*rows.gate), weight_of(rows.weight),
                        rows.activation);
  }
  const DecodeWeight weight[] = {weight_of(rows.weight)};
  decode_products(rows.x, rows.count, weight, [&](size_t, int begin, int end) {
    for (int m = 0; m < rows.count; ++m) {
      const int64_t row = int64_t{m} * rows.n;
      float* y = rows.y + row;
      activate(rows.activation, y + begin, static_cast<size_t>(end - begin), y + begin);
      if (!rows.residual) continue;
      for (int i = begin; i < end; ++i) y[i] += rows.residual[row + i];
    }
  });
}

// How the rows of a product are computed.
struct RowPlan {
  int prompt_rows;  // the rest are decode rows
  PromptKind prompt;
  bool decodes_integers;

  // The largest difference from exact float32, as a share of the largest value.
  float tolerance() const {
    if (decodes_integers || prompt == PromptKind::kInt8) return 4e-2f;
    return prompt == PromptKind::kBfloat16 ? 2e-2f : 1e-4f;
  }
};

void run_product(const ProductRows& rows, const RowPlan& plan) {
  const int decode_rows = rows.count - plan.prompt_rows;
  if (plan.prompt_rows > 0) run_prompt(rows.part(0, plan.prompt_rows), plan.prompt);
  if (decode_rows > 0) run_decode(rows.part(plan.prompt_rows, decode_rows));
  if (!rows.residual || plan.prompt_rows == 0) return;
  // Row by row: read where tiles end, at pieces of rows, it would take three times as long.
  parallel_for(plan.prompt_rows, 8, [&](int begin, int end) {
    const auto last = static_cast<size_t>(end) * static_cast<size_t>(rows.n);
    for (auto i = static_cast<size_t>(begin) * static_cast<size_t>(rows.n); i < last; ++i) {
      rows.y[i] += rows.residual[i];
    }
  });
}

// The inputs of a product with one weight or two: x, the weights, and a residual.
struct ProductOp {
  WeightSlots weight;
  std::optional<WeightSlots> gate;
  Activation activation = Activation::kNone;
  bool has_residual = false;

  static Factor factor(const Arrays& in, const WeightSlots& slots, std::optional<Floats>& bias) {
    if (slots.has_bias) bias.emplace(in[slots.bias()]);
    return {slots.rows(in), bias ? bias->data() : nullptr,
            slots.int8_rows ? rows_of(*slots.int8_rows) : isa::WeightRows{}};
  }

  PromptKind prompt_kind(const mx::array& values) const {
    const bool int8 = weight.int8_rows && (!gate || gate->int8_rows);
    if (int8 && multiplies_int8_rows() && numerics() == Numerics::kFast) return PromptKind::kInt8;
    const bool rounds = values.dtype() != mx::float32 && isa::table().prompt_bf16.product &&
                        numerics() != Numerics::kFloat32;
    return rounds ? PromptKind::kBfloat16 : PromptKind::kFloat32;
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
  const auto add_bias = [&](const mx::array& y) {
    return slots.has_bias ? mx::add(y, in[slots.bias()]) : y;
  };
  const auto& w = in[slots.first];
  if (!slots.quantization) {
    return add_bias(mx::matmul(in[0], mx::transpose(mx::astype(w, mx::float32))));
  }
  const auto& q = *slots.quantization;
  const PlainScales plain(q, in[slots.first + 1], in[slots.first + (q.has_biases() ? 2 : 1)]);
  return add_bias(mx::quantized_matmul(in[0], w, plain.scales, plain.biases, true, q.group_size,
                                       q.bits, to_string(q.mode)));
}

mx::array plain(const ProductOp& op, const Arrays& in) {
  mx::array y = plain_product(in, op.weight);
  y = op.gate ? mx::multiply(plain_activation(op.activation, plain_product(in, *op.gate)), y)
              : plain_activation(op.activation, y);
  return op.has_residual ? mx::add(in.back(), y) : y;
}

// With products that are ops of their own, for what follows has gradients too.
mx::array composed(const ProductOp& op, const Arrays& in) {
  mx::array y = linear(in[0], weight_of(in, op.weight));
  y = op.gate
          ? mx::multiply(plain_activation(op.activation, linear(in[0], weight_of(in, *op.gate))), y)
          : plain_activation(op.activation, y);
  return op.has_residual ? mx::add(in.back(), y) : y;
}

// The gradients of inputs `wanted` of `f`.
Arrays gradients_through(const std::function<mx::array(const Arrays&)>& f, const Arrays& in,
                         const mx::array& cotangent, const std::vector<int>& wanted) {
  Arrays chosen;
  for (const int i : wanted) chosen.push_back(in[static_cast<size_t>(i)]);
  const auto of_chosen = [&](const Arrays& values) {
    Arrays all = in;
    for (size_t i = 0; i < wanted.size(); ++i) all[static_cast<size_t>(wanted[i])] = values[i];
    return Arrays{f(all)};
  };
  return mx::vjp(of_chosen, chosen, {cotangent}).second;
}

Arrays gradients(const ProductOp& op, const Arrays& in, const mx::array& cotangent,
                 const std::vector<int>& wanted) {
  if (op.gate || op.has_residual || op.activation != Activation::kNone) {
    return gradients_through([&](const Arrays& all) { return composed(op, all); }, in, cotangent,
                             wanted);
  }
  const auto& w = op.weight;
  const auto dy = mx::reshape(cotangent, {-1, w.n});
  Arrays found;
  for (const int wanted_one : wanted) {
    const auto i = static_cast<size_t>(wanted_one);
    if (i == 0) {
      found.push_back(input_gradient(cotangent, weight_of(in, w)));
    } else if (i == w.first && !w.quantization) {
      const auto x = mx::reshape(in[0], {-1, w.k});
      found.push_back(mx::astype(weight_gradient(dy, x, in[i].dtype()), in[i].dtype()));
    } else if (w.has_bias && i == w.bias()) {
      found.push_back(mx::sum(dy, 0));
    } else {  // scales and biases of groups
      const auto plain_op = [&](const Arrays& all) { return plain(op, all); };
      found.push_back(gradients_through(plain_op, in, cotangent, {wanted_one})[0]);
    }
  }
  return found;
}

mx::array make_product(const char* name, const ProductOp& op, mx::Shape shape,
                       const Arrays& inputs) {
  const int rows = row_count(inputs[0]);
  const auto& q = op.weight.quantization;
  const int first_decode = has_decode_rows(q) ? first_decode_row(rows) : rows;
  const RowPlan plan{first_decode, op.prompt_kind(inputs[op.weight.first]),
                     q && first_decode < rows};
  return make_op(
      {name, std::move(shape), [op, plan](const Arrays& in, float* y) { op.run(in, plan, y); },
       [op](const Arrays& in) { return plain(op, in); }, plan.tolerance(),
       [op](const Arrays& in, const mx::array& cotangent, const std::vector<int>& wanted) {
         return gradients(op, in, cotangent, wanted);
       }},
      inputs);
}

}  // namespace

Weight rows_of(const Weight& weight, int begin, int end) {
  const auto part = [&](const std::optional<mx::array>& x) {
    return x ? std::optional(rows_of(*x, begin, end)) : std::nullopt;
  };
  Weight rows{rows_of(weight.values, begin, end),
              part(weight.bias),
              weight.quantization,
              part(weight.scales),
              part(weight.biases),
              nullptr};
  if (weight.int8_rows) {
    const Int8Rows& all = *weight.int8_rows;
    const Int8Rows some{rows_of(all.values, begin, end), rows_of(all.scales, begin, end),
                        rows_of(all.sums, begin, end)};
    mx::eval(some.values, some.scales, some.sums);  // products take them as they are
    rows.int8_rows = std::make_shared<const Int8Rows>(some);
  }
  return rows;
}

mx::array linear(const mx::array& x, const Weight& weight, const Epilogue& end) {
  Arrays inputs = {as_float32(x)};
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
    inputs.push_back(as_float32(*end.residual));
  }
  const char* name = weight.quantization ? "fovea::quantized_matmul" : "fovea::matmul";
  return make_product(name, op, std::move(shape), inputs);
}

namespace {

// Whether rows are prepared alike for both.
bool same_kind(const Weight& a, const Weight& b) {
  const bool one_int8 = (a.int8_rows == nullptr) != (b.int8_rows == nullptr);
  if (one_int8 || a.quantization.has_value() != b.quantization.has_value()) return false;
  return a.quantization ? *a.quantization == *b.quantization : a.values.dtype() == b.values.dtype();
}

}  // namespace

mx::array gated_linear(const mx::array& x, const Weight& gate, const Weight& up,
                       Activation activation) {
  if (!same_kind(gate, up)) {
    return mx::multiply(linear(x, gate, {activation, {}}), linear(x, up));
  }
  Arrays inputs = {as_float32(x)};
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
  return linear(x, {.values = w_NK, .bias = bias});
}

mx::array quantized_matmul(const mx::array& x, const mx::array& w, const mx::array& scales,
                           const mx::array& biases, const Quantization& quantization,
                           const std::optional<mx::array>& bias) {
  return linear(x, {w, bias, quantization, scales, biases, nullptr});
}

mx::array embedding(const mx::array& ids, const Weight& table) {
  Arrays inputs = {row_major(mx::astype(ids, mx::int32))};
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
    const auto& q = *slots.quantization;
    const PlainScales plain(q, rows(2), rows(q.has_biases() ? 3 : 2));
    return mx::dequantize(rows(1), plain.scales, plain.biases, q.group_size, q.bits,
                          to_string(q.mode), std::nullopt, mx::float32);
  };
  return make_op({"fovea::embedding", {ids.shape(0), slots.k}, run, fallback}, inputs);
}

}  // namespace fovea::kernels
