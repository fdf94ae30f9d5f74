#include "kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

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

constexpr int kHeadDimMax = 256;
constexpr int kRowsPerPiece = 24;

// Queries that see one stretch of keys. Blocks of keys are counted from the stretch's first key, so
// that a picture's bits do not depend on the pictures before it.
struct Stretch {
  int first_row;
  int rows;
  int first_key;
  int keys_seen;  // by the first row
  int key_step;
};

struct Heads {
  int query;
  int key;
  int dim;
};

Heads checked_heads(const mx::array& q, const mx::array& k, const mx::array& v) {
  const bool fits = q.ndim() == 3 && k.ndim() == 3 && k.shape() == v.shape() &&
                    q.shape(2) == k.shape(2) && k.shape(1) > 0 && q.shape(1) % k.shape(1) == 0 &&
                    q.shape(2) > 0 && q.shape(2) <= kHeadDimMax;
  if (!fits) {
    fail(ErrorKind::kInvalidData,
         "[attention] expected q [T, H, D] and k, v [S, K, D] with D <= {} and H a multiple of K "
         "but got {}, {} and {}",
         kHeadDimMax, shape_text(q), shape_text(k), shape_text(v));
  }
  return {q.shape(1), k.shape(1), q.shape(2)};
}

// One head of one stretch, cut into pieces of a few rows for the threads.
void attend_piece(const Heads& heads, const Stretch& s, int head, int begin, int end,
                  const float* q, const float* k, const float* v, const AttentionOptions& options,
                  float* out) {
  const int64_t q_stride = int64_t{heads.query} * heads.dim;
  const int64_t q_at = (s.first_row + begin) * q_stride + int64_t{head} * heads.dim;
  const int64_t kv_stride = int64_t{heads.key} * heads.dim;
  const int64_t kv_at =
      s.first_key * kv_stride + int64_t{head / (heads.query / heads.key)} * heads.dim;
  isa::AttentionRows rows;
  rows.q = q + q_at;
  rows.k = k + kv_at;
  rows.v = v + kv_at;
  rows.out = out + q_at;
  rows.q_stride = q_stride;
  rows.kv_stride = kv_stride;
  rows.rows = end - begin;
  rows.head_dim = heads.dim;
  rows.last_key = s.keys_seen + begin * s.key_step;
  rows.key_step = s.key_step;
  rows.window = options.window;
  rows.scale = options.scale;
  rows.softcap = options.softcap;
  float scratch[3 * (isa::kKeyBlock + kHeadDimMax)];
  isa::table().attend(rows, scratch);
}

void run_attention(const Heads& heads, const std::vector<Stretch>& stretches, const Arrays& in,
                   const AttentionOptions& options, float* out) {
  const Floats q(in[0]);
  const Floats k(in[1]);
  const Floats v(in[2]);
  for (const auto& s : stretches) {
    const int pieces = (s.rows + kRowsPerPiece - 1) / kRowsPerPiece;
    parallel_for(pieces * heads.query, 1, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const int first = i / heads.query * kRowsPerPiece;
        attend_piece(heads, s, i % heads.query, first, std::min(first + kRowsPerPiece, s.rows),
                     q.data(), k.data(), v.data(), options, out);
      }
    });
  }
}

// Plain attention over [T, H, D] with an additive mask [T, S].
mx::array attention_fallback(const Arrays& in, const mx::array& mask_TS, const Heads& heads,
                             const AttentionOptions& options) {
  const auto per_head = [&](const mx::array& x) {
    const int repeats = heads.query / x.shape(1);
    const auto wide = repeats == 1 ? x : mx::repeat(x, repeats, 1);
    return mx::transpose(wide, {1, 0, 2});
  };
  auto scores = mx::multiply(mx::matmul(per_head(in[0]), mx::swapaxes(per_head(in[1]), 1, 2)),
                             mx::array(options.scale));
  if (options.softcap > 0) {
    const mx::array cap(options.softcap);
    scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  }
  const auto weights = mx::softmax(mx::add(scores, mask_TS), -1, true);
  return mx::transpose(mx::matmul(weights, per_head(in[2])), {1, 0, 2});
}

mx::array mask_of(const std::vector<Stretch>& stretches, int rows, int keys, int window) {
  std::vector<float> mask(static_cast<size_t>(rows) * keys,
                          -std::numeric_limits<float>::infinity());
  for (const auto& s : stretches) {
    for (int r = 0; r < s.rows; ++r) {
      const int last = s.first_key + s.keys_seen + r * s.key_step;
      const int first = window > 0 ? std::max(s.first_key, last - window) : s.first_key;
      const auto row = mask.begin() + int64_t{s.first_row + r} * keys;
      std::fill(row + first, row + last, 0.0f);
    }
  }
  return mx::array(mask.data(), {rows, keys}, mx::float32);
}

mx::array attention_op(const char* name, const Heads& heads, Arrays inputs,
                       std::vector<Stretch> stretches, int keys, const AttentionOptions& options) {
  mx::Shape shape = inputs[0].shape();
  const auto run = [=](const Arrays& in, float* out) {
    run_attention(heads, stretches, in, options, out);
  };
  const auto fallback = [=](const Arrays& in) {
    const auto used = [&](const mx::array& x) {
      return mx::slice(x, {0, 0, 0}, {keys, x.shape(1), x.shape(2)});
    };
    return attention_fallback({in[0], used(in[1]), used(in[2])},
                              mask_of(stretches, in[0].shape(0), keys, options.window), heads,
                              options);
  };
  return make_op({name, std::move(shape), run, fallback}, std::move(inputs));
}

Arrays as_float32(const mx::array& q, const mx::array& k, const mx::array& v) {
  return {mx::astype(q, mx::float32), mx::astype(k, mx::float32), mx::astype(v, mx::float32)};
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
    float* memory = out.data<float>();
    const size_t row = out.size() / static_cast<size_t>(out.shape(0));
    float* to = memory + static_cast<size_t>(at_) * row;
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([before = mx::array::unsafe_weak_copy(buffer),
                      rows = mx::array::unsafe_weak_copy(inputs[1]), in_place, memory, to] {
      if (!in_place) std::memcpy(memory, Floats(before).data(), before.size() * sizeof(float));
      std::memcpy(to, Floats(rows).data(), rows.size() * sizeof(float));
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

mx::array causal_attention(const mx::array& q_THD, const mx::array& k_CKD, const mx::array& v_CKD,
                           int past, const AttentionOptions& options) {
  const Heads heads = checked_heads(q_THD, k_CKD, v_CKD);
  const int rows = q_THD.shape(0);
  if (past < 0 || past + rows > k_CKD.shape(0)) {
    fail(ErrorKind::kInvalidData, "[attention] expected room for {} keys but got buffers of {}",
         past + rows, k_CKD.shape(0));
  }
  return attention_op("fovea::causal_attention", heads, as_float32(q_THD, k_CKD, v_CKD),
                      {{0, rows, 0, past + 1, 1}}, past + rows, options);
}

mx::array segment_attention(const mx::array& q_THD, const mx::array& k_THD, const mx::array& v_THD,
                            const std::vector<int>& cu_seqlens, float scale) {
  const Heads heads = checked_heads(q_THD, k_THD, v_THD);
  if (cu_seqlens.empty() || cu_seqlens.front() != 0 || cu_seqlens.back() != q_THD.shape(0) ||
      k_THD.shape(0) != q_THD.shape(0) || !std::is_sorted(cu_seqlens.begin(), cu_seqlens.end())) {
    fail(ErrorKind::kInvalidData,
         "[attention] expected segments that rise from 0 to {} rows of queries and keys but got "
         "[{}] and {} keys",
         q_THD.shape(0), fmt::join(cu_seqlens, ", "), k_THD.shape(0));
  }
  std::vector<Stretch> stretches;
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    const int begin = cu_seqlens[i];
    const int end = cu_seqlens[i + 1];
    if (end > begin) stretches.push_back({begin, end - begin, begin, end - begin, 0});
  }
  return attention_op("fovea::segment_attention", heads, as_float32(q_THD, k_THD, v_THD),
                      std::move(stretches), q_THD.shape(0), {scale, 0, 0});
}

mx::array append_rows(const mx::array& buffer_CKD, const mx::array& rows_TKD, int at) {
  const auto& buffer = buffer_CKD.shape();
  const auto& added = rows_TKD.shape();
  if (buffer.size() != 3 || added.size() != 3 || at < 0 || at + added[0] > buffer[0] ||
      buffer[1] != added[1] || buffer[2] != added[2] || buffer_CKD.dtype() != mx::float32) {
    fail(ErrorKind::kInvalidData,
         "[append_rows] expected rows that fit a float32 buffer {} from row {} on but got {}",
         shape_text(buffer_CKD), at, shape_text(rows_TKD));
  }
  const auto rows = mx::astype(rows_TKD, mx::float32);
  const auto stream = mx::default_stream(mx::default_device());
  if (stream.device != mx::Device::cpu) {
    return mx::slice_update(buffer_CKD, rows, mx::Shape{at, 0, 0},
                            mx::Shape{at + rows.shape(0), rows.shape(1), rows.shape(2)});
  }
  return mx::array(buffer_CKD.shape(), mx::float32, std::make_shared<AppendRows>(stream, at),
                   {buffer_CKD, rows});
}

}  // namespace fovea::kernels
