#include "kernels/append_rows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/op.h"
#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/utils.h"

namespace fovea::kernels {
namespace {

constexpr int kGrain = 16 * 1024;  // elements, below which a thread is not worth waking

// Float32 rows [T, K, D] into a float32 or bfloat16 buffer [K, C, D].
void write_rows(const mx::array& rows, const mx::array& buffer, int at, std::byte* memory) {
  const Floats values(rows);
  const bool halves = buffer.dtype() == mx::bfloat16;
  const auto dim = static_cast<size_t>(rows.shape(2));
  const int heads = rows.shape(1);
  parallel_for(rows.shape(0), std::max(1, kGrain / (heads * rows.shape(2))),
               [&](int begin, int end) {
                 for (int64_t i = int64_t{begin} * heads; i < int64_t{end} * heads; ++i) {
                   const float* row = values.data() + static_cast<size_t>(i) * dim;
                   const int64_t key = i % heads * buffer.shape(1) + at + i / heads;
                   const size_t to = static_cast<size_t>(key) * dim;
                   if (halves) {
                     isa::table().round_to_bf16(row, dim, reinterpret_cast<uint16_t*>(memory) + to);
                   } else {
                     std::copy_n(row, dim, reinterpret_cast<float*>(memory) + to);
                   }
                 }
               });
}

// Writes into the memory of its first input.
class AppendRows : public mx::Primitive {
 public:
  AppendRows(mx::Stream stream, int at) : Primitive(stream), at_(at) {}

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
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([before = mx::array::unsafe_weak_copy(buffer),
                      rows = mx::array::unsafe_weak_copy(inputs[1]), in_place, memory, at = at_] {
      if (!in_place) {
        before.dtype() == mx::bfloat16
            ? std::memcpy(memory, Halves(before).data(), before.nbytes())
            : std::memcpy(memory, Floats(before).data(), before.nbytes());
      }
      write_rows(rows, before, at, memory);
    });
  }
  void eval_gpu(const Arrays&, Arrays&) override {
    throw std::logic_error("append_rows is for the CPU");
  }
  const char* name() const override { return "fovea::append_rows"; }

 private:
  int at_;
};

}  // namespace

mx::array append_rows(const mx::array& buffer_KCD, const mx::array& rows_TKD, int at) {
  const auto& buffer = buffer_KCD.shape();
  const auto& added = rows_TKD.shape();
  if (buffer.size() != 3 || added.size() != 3 || at < 0 || at + added[0] > buffer[1] ||
      buffer[0] != added[1] || buffer[2] != added[2] ||
      (buffer_KCD.dtype() != mx::float32 && buffer_KCD.dtype() != mx::bfloat16)) {
    fail(ErrorKind::kInvalidData,
         "[append_rows] expected rows [T, K, D] that fit a float32 or bfloat16 buffer {} from key "
         "{} on but "
         "got {} for {}",
         shape_text(buffer_KCD), at, shape_text(rows_TKD), dtype_text(buffer_KCD));
  }
  const auto rows = mx::astype(rows_TKD, mx::float32);
  const auto stream = mx::default_stream(mx::default_device());
  if (stream.device != mx::Device::cpu) {
    const auto rows_KTD = mx::transpose(mx::astype(rows, buffer_KCD.dtype()), {1, 0, 2});
    return mx::slice_update(buffer_KCD, rows_KTD, mx::Shape{0, at, 0},
                            mx::Shape{buffer[0], at + added[0], added[2]});
  }
  return mx::array(buffer_KCD.shape(), buffer_KCD.dtype(), std::make_shared<AppendRows>(stream, at),
                   {buffer_KCD, rows});
}

}  // namespace fovea::kernels
