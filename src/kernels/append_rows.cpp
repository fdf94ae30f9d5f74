#include "kernels/append_rows.h"

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

constexpr int kRoundGrain = 16 * 1024;

// Float32 rows into a float32 or bfloat16 buffer.
void write_rows(const mx::array& rows, bool halves, std::byte* to) {
  const Floats values(rows);
  if (!halves) {
    std::memcpy(to, values.data(), rows.nbytes());
    return;
  }
  parallel_for(static_cast<int>(rows.size()), kRoundGrain, [&](int begin, int end) {
    isa::table().round_to_bf16(values.data() + begin, static_cast<size_t>(end - begin),
                               reinterpret_cast<uint16_t*>(to) + begin);
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
    std::byte* to = memory + static_cast<size_t>(at_) * (out.nbytes() / out.shape(0));
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([before = mx::array::unsafe_weak_copy(buffer),
                      rows = mx::array::unsafe_weak_copy(inputs[1]), in_place, memory, to] {
      const bool halves = before.dtype() == mx::bfloat16;
      if (!in_place) {
        halves ? std::memcpy(memory, Halves(before).data(), before.nbytes())
               : std::memcpy(memory, Floats(before).data(), before.nbytes());
      }
      write_rows(rows, halves, to);
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

mx::array append_rows(const mx::array& buffer_CKD, const mx::array& rows_TKD, int at) {
  const auto& buffer = buffer_CKD.shape();
  const auto& added = rows_TKD.shape();
  if (buffer.size() != 3 || added.size() != 3 || at < 0 || at + added[0] > buffer[0] ||
      buffer[1] != added[1] || buffer[2] != added[2] ||
      (buffer_CKD.dtype() != mx::float32 && buffer_CKD.dtype() != mx::bfloat16)) {
    fail(ErrorKind::kInvalidData,
         "[append_rows] expected rows that fit a float32 or bfloat16 buffer {} from row {} on but "
         "got {} for {}",
         shape_text(buffer_CKD), at, shape_text(rows_TKD), dtype_text(buffer_CKD));
  }
  const auto rows = mx::astype(rows_TKD, mx::float32);
  const auto stream = mx::default_stream(mx::default_device());
  if (stream.device != mx::Device::cpu) {
    return mx::slice_update(buffer_CKD, mx::astype(rows, buffer_CKD.dtype()), mx::Shape{at, 0, 0},
                            mx::Shape{at + rows.shape(0), rows.shape(1), rows.shape(2)});
  }
  return mx::array(buffer_CKD.shape(), buffer_CKD.dtype(), std::make_shared<AppendRows>(stream, at),
                   {buffer_CKD, rows});
}

}  // namespace fovea::kernels
