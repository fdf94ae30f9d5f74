#include "kernels/decode_attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/append_rows.h"
#include "kernels/attention_work.h"
#include "kernels/kv_bytes.h"
#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

// Of each sequence, behind q, k and v.
constexpr size_t kFirstBuffer = 3;

mx::array appended(const mx::array& buffer, const mx::array& row, int at, int group_size) {
  if (buffer.dtype() == mx::uint8) return append_kv_bytes(buffer, row, at, group_size);
  return append_rows(buffer, row, at);
}

mx::array one_by_one(const mx::array& q_THD, const mx::array& k_TKD, const mx::array& v_TKD,
                     std::span<DecodeSequence> sequences, const AttentionOptions& options) {
  Arrays outputs;
  for (int i = 0; auto& one : sequences) {
    const auto row = [&](const mx::array& x) { return rows_of(x, i, i + 1); };
    one.k_KCD = appended(one.k_KCD, row(k_TKD), one.past, options.kv_group_size);
    one.v_KCD = appended(one.v_KCD, row(v_TKD), one.past, options.kv_group_size);
    outputs.push_back(causal_attention(row(q_THD), one.k_KCD, one.v_KCD, one.past, options));
    ++i;
  }
  return joined_rows(outputs);
}

// Whether the buffers can be written now: only a result that is there at once can have had an
// effect on its inputs.
bool can_run_at_once(std::span<const DecodeSequence> sequences, const AttentionOptions& options) {
  return at_once() && std::all_of(sequences.begin(), sequences.end(), [&](const auto& one) {
           const auto ready = [](const mx::array& x) {
             return x.is_available() && x.flags().row_contiguous;
           };
           return ready(one.k_KCD) && ready(one.v_KCD) && one.k_KCD.dtype() == one.v_KCD.dtype() &&
                  !has_bf16_products(one.k_KCD, one.v_KCD, options);
         });
}

void check_rows(const mx::array& q, const mx::array& k, const mx::array& v,
                std::span<const DecodeSequence> sequences, const AttentionOptions& options) {
  const int rows = static_cast<int>(sequences.size());
  if (sequences.empty() || q.ndim() != 3 || k.ndim() != 3 || k.shape() != v.shape() ||
      q.shape(0) != rows || k.shape(0) != rows || q.shape(2) != k.shape(2) || options.mask ||
      !options.spans.empty()) {
    fail(ErrorKind::kInvalidData,
         "[decode_attention] expected a row of queries, keys and values for each of {} sequences, "
         "and no mask or spans, but got {}, {} and {}",
         rows, shape_text(q), shape_text(k), shape_text(v));
  }
  for (const auto& one : sequences) {
    const Heads heads =
        checked_heads(q, one.k_KCD, one.v_KCD, KeyAxes::kHeadsFirst, options.kv_group_size);
    if (heads.key != k.shape(1) || one.past < 0 || one.past >= one.k_KCD.shape(1)) {
      fail(ErrorKind::kInvalidData,
           "[decode_attention] expected buffers of {} heads with room for key {} but got {}",
           k.shape(1), one.past, shape_text(one.k_KCD));
    }
  }
}

// Row i of rows [T, K, D] as key `at` of its sequence's buffer.
void write_row(const Floats& rows, int i, mx::array buffer, int dim, int at, int group_size) {
  const int heads = buffer.shape(0);
  const int64_t row_bytes = int64_t{buffer.shape(2)} * mx::size_of(buffer.dtype());
  for (int64_t head = 0; head < heads; ++head) {
    write_kv_row(rows.data() + (int64_t{i} * heads + head) * dim, dim, buffer.dtype(), group_size,
                 buffer.data<std::byte>() + (head * buffer.shape(1) + at) * row_bytes);
  }
}

}  // namespace

mx::array decode_attention(const mx::array& q_THD, const mx::array& k_TKD, const mx::array& v_TKD,
                           std::span<DecodeSequence> sequences, const AttentionOptions& options) {
  check_rows(q_THD, k_TKD, v_TKD, sequences, options);
  if (!can_run_at_once(sequences, options)) {
    return one_by_one(q_THD, k_TKD, v_TKD, sequences, options);
  }
  const Heads heads{q_THD.shape(1), k_TKD.shape(1), q_THD.shape(2)};
  Arrays inputs = {as_float32(q_THD), as_float32(k_TKD), as_float32(v_TKD)};
  std::vector<Work> works;
  for (const auto& one : sequences) {
    const int row = static_cast<int>(works.size());
    Work work{heads,   KeyAxes::kHeadsFirst, {{row, 0, {causal_keys(one.past, options)}}},
              options, one.past + 1,         false};
    work.options.sinks.reset();
    work.sinks = options.sinks.has_value();
    works.push_back(std::move(work));
    inputs.push_back(one.k_KCD);
    inputs.push_back(one.v_KCD);
  }
  if (options.sinks) inputs.push_back(mx::astype(*options.sinks, mx::float32));
  // What attention takes of the inputs for sequence i.
  const auto inputs_of = [](const Arrays& in, size_t i, const Work& work) {
    Arrays own = {in[0], in[kFirstBuffer + 2 * i], in[kFirstBuffer + 2 * i + 1]};
    if (work.sinks) own.push_back(in.back());
    return own;
  };
  const auto run = [works, inputs_of](const Arrays& in, float* out) {
    const Floats k(in[1]);
    const Floats v(in[2]);
    std::vector<Arrays> own;
    for (size_t i = 0; i < works.size(); ++i) {
      own.push_back(inputs_of(in, i, works[i]));
      const int row = static_cast<int>(i);
      const int at = works[i].keys - 1;
      const int group_size = works[i].options.kv_group_size;
      write_row(k, row, own[i][1], works[i].heads.dim, at, group_size);
      write_row(v, row, own[i][2], works[i].heads.dim, at, group_size);
    }
    run_attention(works, own, out);
  };
  // The buffers have their rows by then.
  const auto fallback = [works, inputs_of](const Arrays& in) {
    Arrays outputs;
    for (size_t i = 0; i < works.size(); ++i) {
      Work work = works[i];
      work.stretches[0].first_row = 0;
      Arrays own = inputs_of(in, i, work);
      own[0] = rows_of(own[0], static_cast<int>(i), static_cast<int>(i) + 1);
      outputs.push_back(attention_fallback(work, own));
    }
    return mx::concatenate(outputs, 0);
  };
  return make_op({"fovea::decode_attention", q_THD.shape(), run, fallback}, inputs);
}

}  // namespace fovea::kernels
