#include "kernels/matmul.h"

#include <cassert>
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

isa::WeightRows weight_rows(const Arrays& in, size_t first, int k, const Affine* affine) {
  isa::WeightRows rows;
  rows.k = k;
  rows.data = in[first].data<void>();
  if (!affine) {
    rows.dtype = float_kind(in[first]);
    return rows;
  }
  rows.dtype = float_kind(in[first + 1]);
  rows.bits = affine->bits;
  rows.group_size = affine->group_size;
  rows.scales = in[first + 1].data<void>();
  rows.biases = in[first + 2].data<void>();
  return rows;
}

void check_affine(const mx::array& w, const mx::array& scales, const mx::array& biases,
                  const Affine& affine) {
  const int bits = affine.bits;
  const int group = affine.group_size;
  const bool shapes = w.ndim() == 2 && scales.shape() == biases.shape() && scales.ndim() == 2 &&
                      scales.shape(0) == w.shape(0) && scales.dtype() == biases.dtype() &&
                      int64_t{w.shape(1)} * 32 == int64_t{scales.shape(1)} * group * bits;
  if (affine.is_supported() && shapes && w.dtype() == mx::uint32) return;
  fail(ErrorKind::kInvalidData,
       "[quantized_matmul] expected 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128 but got {} "
       "bits in groups of {} with shapes {} and {}",
       bits, group, shape_text(w), shape_text(scales));
}

// Few rows are split finely enough for all threads, many rows coarsely; the sums are the same.
constexpr int kColumnGrain = 16;

void for_columns(int n_count, const std::function<void(int, int)>& body) {
  parallel_for((n_count + 3) / 4, kColumnGrain / 4,
               [&](int begin, int end) { body(begin * 4, std::min(end * 4, n_count)); });
}

// Rows of one kind of a product.
struct ProductRows {
  const float* x;
  int count;
  const float* bias;
  float* y;
  int n;
};

void run_exact(const ProductRows& rows, const isa::WeightRows& w) {
  for_columns(rows.n, [&](int begin, int end) {
    thread_local std::vector<float> scratch;
    const size_t needed = static_cast<size_t>(isa::panel_columns(w.k)) * static_cast<size_t>(w.k);
    isa::table().product(rows.x, rows.count, w, begin, end, rows.bias, rows.y, rows.n,
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

bool rounds(const mx::array& w) {
  return w.dtype() != mx::float32 && isa::table().prompt_bf16.product &&
         numerics() != Numerics::kFloat32;
}

void run_prompt(const ProductRows& rows, const isa::WeightRows& w, const isa::PromptRows& how) {
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
  product.bias = rows.bias;
  product.y = rows.y;
  product.y_stride = rows.n;
  const int panels = (rows.n + how.panel_columns - 1) / how.panel_columns;
  parallel_for(panels, 1, [&](int begin, int end) {
    thread_local std::vector<std::byte> scratch;
    how.product(product, begin * how.panel_columns, std::min(rows.n, end * how.panel_columns),
                kept(scratch, isa::kPromptScratchBytes));
  });
}

void run_decode(const ProductRows& rows, const isa::WeightRows& w) {
  const auto& isa = isa::table();
  if (w.bits == 0) return run_exact(rows, w);
  const auto* x = prepared(rows, w, isa.decode_row_bytes(w), isa.prepare_decode_row);
  for_columns(rows.n, [&](int begin, int end) {
    isa.decode_product(x, rows.count, w, begin, end, rows.bias, rows.y, rows.n);
  });
}

// How the rows of a product are computed.
struct RowPlan {
  int prompt_rows;  // the rest are decode rows
  bool rounds;      // prompt rows go through bfloat16

  // The largest difference from exact float32, as a share of the largest value.
  float tolerance(bool decodes) const { return decodes ? 4e-2f : rounds ? 2e-2f : 1e-4f; }
};

void run_product(ProductRows rows, const RowPlan& plan, const isa::WeightRows& w) {
  const int count = std::exchange(rows.count, plan.prompt_rows);
  const auto& isa = isa::table();
  if (rows.count > 0) run_prompt(rows, w, plan.rounds ? isa.prompt_bf16 : isa.prompt_f32);
  rows.count = count - plan.prompt_rows;
  rows.x += int64_t{plan.prompt_rows} * w.k;
  rows.y += int64_t{plan.prompt_rows} * rows.n;
  if (rows.count > 0) run_decode(rows, w);
}

struct ProductInputs {
  Arrays inputs;  // x, weights..., and the bias if there is one
  mx::Shape shape;
  int m_count;
  int k;
  int n;
  bool has_bias;
};

ProductInputs product_inputs(const mx::array& x, int k, Arrays weights,
                             const std::optional<mx::array>& bias) {
  const int n = weights[0].shape(0);
  if (x.ndim() == 0 || x.shape(-1) != k) {
    fail(ErrorKind::kInvalidData, "[matmul] expected {} inputs but got x of shape {}", k,
         shape_text(x));
  }
  if (bias && (bias->ndim() != 1 || bias->shape(0) != n)) {
    fail(ErrorKind::kInvalidData, "[matmul] expected a bias of shape [{}] but got {}", n,
         shape_text(*bias));
  }
  mx::Shape shape = x.shape();
  shape.back() = n;
  const int m_count = static_cast<int>(x.size() / static_cast<size_t>(std::max(k, 1)));
  Arrays inputs = {mx::astype(x, mx::float32)};
  for (const auto& weight : weights) inputs.push_back(row_major(weight));
  if (bias) inputs.push_back(mx::astype(*bias, mx::float32));
  return {std::move(inputs), std::move(shape), m_count, k, n, bias.has_value()};
}

mx::array add_bias(const mx::array& y, const Arrays& in, bool has_bias) {
  return has_bias ? mx::add(y, in.back()) : y;
}

mx::array product_op(const char* name, ProductInputs p, std::optional<Affine> affine,
                     std::function<mx::array(const Arrays&)> fallback) {
  const RowPlan plan{first_decode_row(p.m_count), rounds(p.inputs[1])};
  const float tolerance = plan.tolerance(affine && plan.prompt_rows < p.m_count);
  const auto run = [m = p.m_count, k = p.k, n = p.n, has_bias = p.has_bias, affine, plan](
                       const Arrays& in, float* y) {
    const Floats x(in[0]);
    const auto w = weight_rows(in, 1, k, affine ? &*affine : nullptr);
    std::optional<Floats> bias;
    if (has_bias) bias.emplace(in.back());
    run_product({x.data(), m, bias ? bias->data() : nullptr, y, n}, plan, w);
  };
  return make_op({name, std::move(p.shape), run, std::move(fallback), tolerance}, p.inputs);
}

}  // namespace

mx::array matmul(const mx::array& x, const mx::array& w_NK, const std::optional<mx::array>& bias) {
  if (w_NK.ndim() != 2) {
    fail(ErrorKind::kInvalidData, "[matmul] expected weights [N, K] but got {}", shape_text(w_NK));
  }
  float_kind(w_NK);
  auto p = product_inputs(x, w_NK.shape(1), {w_NK}, bias);
  return product_op("fovea::matmul", p, std::nullopt, [has_bias = p.has_bias](const Arrays& in) {
    const auto y = mx::matmul(in[0], mx::transpose(mx::astype(in[1], mx::float32)));
    return add_bias(y, in, has_bias);
  });
}

mx::array quantized_matmul(const mx::array& x, const mx::array& w, const mx::array& scales,
                           const mx::array& biases, const Affine& affine,
                           const std::optional<mx::array>& bias) {
  check_affine(w, scales, biases, affine);
  const int k = scales.shape(1) * affine.group_size;
  auto p = product_inputs(x, k, {w, scales, biases}, bias);
  const auto fallback = [affine, has_bias = p.has_bias](const Arrays& in) {
    const auto y =
        mx::quantized_matmul(in[0], in[1], mx::astype(in[2], mx::float32),
                             mx::astype(in[3], mx::float32), true, affine.group_size, affine.bits);
    return add_bias(y, in, has_bias);
  };
  return product_op("fovea::quantized_matmul", std::move(p), affine, fallback);
}

namespace {

mx::array rows_op(const char* name, const mx::array& ids, int k, const Arrays& weights,
                  std::optional<Affine> affine, std::function<mx::array(const Arrays&)> fallback) {
  Arrays inputs = {mx::contiguous(mx::astype(ids, mx::int32))};
  for (const auto& weight : weights) inputs.push_back(row_major(weight));
  const auto run = [k, affine, count = ids.shape(0)](const Arrays& in, float* out) {
    const auto w = weight_rows(in, 1, k, affine ? &*affine : nullptr);
    const int* wanted = in[0].data<int>();
    for (int i = 0; i < count; ++i) {
      assert(wanted[i] >= 0 && wanted[i] < in[1].shape(0));
      isa::table().expand_row(w, wanted[i], out + static_cast<size_t>(i) * k);
    }
  };
  return make_op({name, {ids.shape(0), k}, run, std::move(fallback)}, inputs);
}

}  // namespace

mx::array embedding(const mx::array& ids, const mx::array& table_VK) {
  float_kind(table_VK);
  return rows_op(
      "fovea::embedding", ids, table_VK.shape(1), {table_VK}, std::nullopt,
      [](const Arrays& in) { return mx::astype(mx::take(in[1], in[0], 0), mx::float32); });
}

mx::array quantized_embedding(const mx::array& ids, const mx::array& w, const mx::array& scales,
                              const mx::array& biases, const Affine& affine) {
  check_affine(w, scales, biases, affine);
  const auto fallback = [affine](const Arrays& in) {
    const auto row = [&](size_t i) { return mx::take(in[i], in[0], 0); };
    return mx::dequantize(row(1), mx::astype(row(2), mx::float32), mx::astype(row(3), mx::float32),
                          affine.group_size, affine.bits);
  };
  return rows_op("fovea::quantized_embedding", ids, scales.shape(1) * affine.group_size,
                 {w, scales, biases}, affine, fallback);
}

}  // namespace fovea::kernels
