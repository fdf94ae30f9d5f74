#include "kernels/append_rows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/kv_bytes.h"
#include "kernels/op.h"
#include "kernels/views.h"
#include "mlx/allocator.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/utils.h"

namespace fovea::kernels {
namespace {

constexpr int kGrain = 16 * 1024;  // elements, below which a thread is not worth waking

// Float32 rows [T, K, D] into a buffer [K, C, ...] that holds them as its dtype says.
void write_rows(const mx::array& rows, const mx::array& buffer, int at, int group_size,
                std::byte* memory) {
  const Floats values(rows);
  const int heads = rows.shape(1);
  const int64_t row_bytes = int64_t{buffer.shape(2)} * mx::size_of(buffer.dtype());
  const auto write_row = [&](int64_t i) {
    const int64_t key = i % heads * buffer.shape(1) + at + i / heads;
    write_kv_row(values.data() + i * rows.shape(2), rows.shape(2), buffer.dtype(), group_size,
                 memory + key * row_bytes);
  };
  const int grain = std::max(1, kGrain / std::max(1, heads * rows.shape(2)));
  parallel_for(rows.shape(0), grain, [&](int begin, int end) {
    for (int64_t i = int64_t{begin} * heads; i < int64_t{end} * heads; ++i) write_row(i);
  });
}

// Writes into the memory of its first input.
class AppendRows : public mx::Primitive {
 public:
  AppendRows(mx::Stream stream, int at, int group_size)
      : Primitive(stream), at_(at), group_size_(group_size) {}

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    auto& out = outputs[0];
    const auto& buffer = inputs[0];
    const bool in_place = buffer.flags().row_contiguous;
    if (in_place) {
      out.copy_shared_buffer(buffer);
    } else {
      out.set_data(mx::allocator::malloc(out.nbytes()));
    }
    std::byte* memory = out.data<std::byte>();
    run_in_turn(stream(), [before = mx::array::unsafe_weak_copy(buffer),
                           rows = mx::array::unsafe_weak_copy(inputs[1]), in_place, memory,
                           at = at_, group_size = group_size_] {
      if (!in_place) {
        if (before.dtype() == mx::uint8) {
          std::memcpy(memory, Elements<uint8_t>(before).data(), before.nbytes());
        } else if (before.dtype() == mx::bfloat16) {
          std::memcpy(memory, Halves(before).data(), before.nbytes());
        } else {
          std::memcpy(memory, Floats(before).data(), before.nbytes());
        }
      }
      write_rows(rows, before, at, group_size, memory);
    });
  }
  void eval_gpu(const Arrays&, Arrays&) override {
    throw std::logic_error("append_rows is for the CPU");
  }
  const char* name() const override { return "fovea::append_rows"; }

 private:
  int at_;
  int group_size_;  // of a buffer of bytes
};

void check_rows(const char* name, const mx::array& buffer, const mx::array& rows, int at,
                int elements) {
  const auto& kept = buffer.shape();
  const auto& added = rows.shape();
  if (kept.size() == 3 && added.size() == 3 && at >= 0 && at + added[0] <= kept[1] &&
      kept[0] == added[1] && kept[2] == elements) {
    return;
  }
  fail(ErrorKind::kInvalidData,
       "[{}] expected rows [T, K, D] that fit a {} buffer {} from key {} on but got {}", name,
       dtype_text(buffer), shape_text(buffer), at, shape_text(rows));
}

mx::array append(const mx::array& buffer, const mx::array& rows_TKD, int at, int group_size) {
  const auto stream = mx::default_stream(mx::default_device());
  return make_nodes({buffer.shape()}, {buffer.dtype()},
                    std::make_shared<AppendRows>(stream, at, group_size),
                    {buffer, as_float32(rows_TKD)})[0];
}

bool on_cpu() { return mx::default_stream(mx::default_device()).device == mx::Device::cpu; }

}  // namespace

void write_kv_row(const float* row, int dim, mx::Dtype dtype, int group_size, std::byte* to) {
  if (dtype == mx::uint8) {
    isa::table().quantize_kv(row, dim, group_size, to);
  } else if (dtype == mx::bfloat16) {
    isa::table().round_to_bf16(row, static_cast<size_t>(dim), reinterpret_cast<uint16_t*>(to));
  } else {
    std::copy_n(row, dim, reinterpret_cast<float*>(to));
  }
}

mx::array append_rows(const mx::array& buffer_KCD, const mx::array& rows_TKD, int at) {
  if (buffer_KCD.dtype() != mx::float32 && buffer_KCD.dtype() != mx::bfloat16) {
    fail(ErrorKind::kInvalidData,
         "[append_rows] expected a float32 or bfloat16 buffer but got one of {}",
         dtype_text(buffer_KCD));
  }
  const int dim = rows_TKD.ndim() == 3 ? rows_TKD.shape(2) : 0;
  check_rows("append_rows", buffer_KCD, rows_TKD, at, dim);
  if (on_cpu()) return append(buffer_KCD, rows_TKD, at, 0);
  const auto rows_KTD = mx::transpose(mx::astype(rows_TKD, buffer_KCD.dtype()), {1, 0, 2});
  return mx::slice_update(buffer_KCD, rows_KTD, mx::Shape{0, at, 0},
                          mx::Shape{buffer_KCD.shape(0), at + rows_TKD.shape(0), dim});
}

mx::array append_kv_bytes(const mx::array& buffer_KCB, const mx::array& rows_TKD, int at,
                          int group_size) {
  const int bytes = rows_TKD.ndim() == 3 ? kv_row_bytes(rows_TKD.shape(2), group_size) : 0;
  if (!on_cpu() || buffer_KCB.dtype() != mx::uint8) {
    fail(ErrorKind::kUnsupported, "[append_kv_bytes] expected a uint8 buffer on the CPU but got {}",
         dtype_text(buffer_KCB));
  }
  check_rows("append_kv_bytes", buffer_KCB, rows_TKD, at, bytes);
  return append(buffer_KCB, rows_TKD, at, group_size);
}

}  // namespace fovea::kernels
