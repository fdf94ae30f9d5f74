#include "kernels/views.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/isa/isa.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

bool is_there(const mx::array& x) {
  return at_once() && x.is_available() && x.flags().row_contiguous;
}

// `shape` in the memory of x from element `offset` on.
mx::array view(const mx::array& x, mx::Shape shape, int64_t offset) {
  mx::array out(std::move(shape), x.dtype(), nullptr, {});
  mx::array::Flags flags = x.flags();
  const auto longest = std::max_element(out.shape().begin(), out.shape().end());
  flags.contiguous = flags.row_contiguous = true;
  flags.col_contiguous = out.ndim() == 0 || static_cast<size_t>(*longest) == out.size();
  out.copy_shared_buffer(x, out.strides(), flags, out.size(), offset);
  out.set_status(mx::array::Status::available);
  return out;
}

}  // namespace

mx::array reshaped(const mx::array& x, mx::Shape shape) {
  const auto size = std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<>());
  // Anything unusual, a size of -1 among it, is MLX's to understand or refuse.
  if (!is_there(x) || x.size() == 0 || size != x.size()) return mx::reshape(x, std::move(shape));
  return view(x, std::move(shape), 0);
}

mx::array rows_of(const mx::array& x, int begin, int end) {
  if (begin == 0 && end == x.shape(0)) return x;
  mx::Shape shape = x.shape();
  shape[0] = end - begin;
  if (is_there(x) && begin >= 0 && begin < end && end <= x.shape(0)) {
    return view(x, std::move(shape), static_cast<int64_t>(x.size()) / x.shape(0) * begin);
  }
  mx::Shape start(x.ndim(), 0);
  mx::Shape stop = x.shape();
  start[0] = begin;
  stop[0] = end;
  return mx::slice(x, std::move(start), std::move(stop));
}

mx::array joined_rows(const std::vector<mx::array>& parts) {
  if (parts.size() == 1) return parts[0];
  if (!at_once()) return mx::concatenate(parts, 0);
  mx::Shape shape = parts[0].shape();
  shape[0] = 0;
  for (const auto& part : parts) shape[0] += part.shape(0);
  const auto run = [](const Arrays& in, float* out) {
    for (const auto& part : in) {
      const Floats values(part);
      out = std::copy_n(values.data(), part.size(), out);
    }
  };
  const auto fallback = [](const Arrays& in) { return mx::concatenate(in, 0); };
  return make_op({"fovea::joined_rows", std::move(shape), run, fallback}, parts);
}

mx::array as_float32(const mx::array& x) {
  if (x.dtype() == mx::float32) return x;
  const bool halves = x.dtype() == mx::bfloat16 || x.dtype() == mx::float16;
  if (!is_there(x) || !halves) return mx::astype(x, mx::float32);
  const auto kind = x.dtype() == mx::bfloat16 ? isa::Float::kBF16 : isa::Float::kF16;
  const auto run = [kind](const Arrays& in, float* out) {
    isa::WeightRows row;
    row.k = static_cast<int>(in[0].size());
    row.dtype = kind;
    row.data = in[0].data<void>();
    isa::table().expand_row(row, 0, out);
  };
  const auto fallback = [](const Arrays& in) { return mx::astype(in[0], mx::float32); };
  return make_op({"fovea::as_float32", x.shape(), run, fallback}, {x});
}

mx::array row_major(const mx::array& x) {
  return x.is_available() && x.flags().row_contiguous ? x : mx::contiguous(x);
}

}  // namespace fovea::kernels
