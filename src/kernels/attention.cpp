#include "kernels/attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/attention_work.h"
#include "kernels/kv_bytes.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

void check_extras(const mx::array& q, int keys, const AttentionOptions& options) {
  if (options.mask) {
    const mx::Shape flat = {q.shape(0), keys};
    const mx::Shape by_head = {q.shape(1), q.shape(0), keys};
    if (options.mask->shape() != flat && options.mask->shape() != by_head) {
      fail(ErrorKind::kInvalidData,
           "[attention] expected a mask [{}, {}], with or without {} heads before them, but got {}",
           q.shape(0), keys, q.shape(1), shape_text(*options.mask));
    }
  }
  if (options.sinks && options.sinks->shape() != mx::Shape{q.shape(1)}) {
    fail(ErrorKind::kInvalidData, "[attention] expected sinks [{}] but got {}", q.shape(1),
         shape_text(*options.sinks));
  }
}

bool can_have_bf16_products() {
  return numerics() != Numerics::kFloat32 && isa::table().attend_bf16 != nullptr;
}

// Keys and values keep bfloat16 where both have it, and 8 bits.
mx::array attention_op(const char* name, const mx::array& q, const mx::array& k, const mx::array& v,
                       Work work) {
  check_extras(q, work.keys, work.options);
  const bool halves = k.dtype() == mx::bfloat16 && v.dtype() == mx::bfloat16;
  const auto kv_dtype = k.dtype() == mx::uint8 ? mx::uint8 : halves ? mx::bfloat16 : mx::float32;
  Arrays inputs = {mx::astype(q, mx::float32), mx::astype(k, kv_dtype), mx::astype(v, kv_dtype)};
  work.mask = work.options.mask.has_value();
  work.sinks = work.options.sinks.has_value();
  for (auto* extra : {&work.options.mask, &work.options.sinks}) {
    if (*extra) inputs.push_back(mx::astype(**extra, mx::float32));
    extra->reset();
  }
  Op op;
  op.name = name;
  op.shape = q.shape();
  op.run = [work](const Arrays& in, float* out) { run_attention(work, in, out); };
  op.fallback = [work](const Arrays& in) { return attention_fallback(work, in); };
  if (work.bf16) op.tolerance = kBFloat16Tolerance;
  return make_op(std::move(op), inputs);
}

}  // namespace

void check_spans(const std::vector<PositionSpan>& spans, int keys) {
  int last = 0;
  for (const auto& span : spans) {
    const bool cut = span.begin < keys && span.end > keys;
    if (span.begin < last || span.end < span.begin || cut) {
      fail(ErrorKind::kInvalidData,
           "[attention] expected spans that rise and are not cut at key {} but got [{}, {}) behind "
           "{}",
           keys, span.begin, span.end, last);
    }
    last = span.end;
  }
}

Heads checked_heads(const mx::array& q, const mx::array& k, const mx::array& v, KeyAxes axes,
                    int kv_group_size) {
  const bool heads_first = axes == KeyAxes::kHeadsFirst;
  const int axis = heads_first ? 0 : 1;
  const auto elements_of = [&](int head_dim) {
    return k.dtype() == mx::uint8 ? kv_row_bytes(head_dim, kv_group_size) : head_dim;
  };
  const bool fits = q.ndim() == 3 && k.ndim() == 3 && k.shape() == v.shape() && q.shape(2) > 0 &&
                    q.shape(2) <= kHeadDimMax && elements_of(q.shape(2)) == k.shape(2) &&
                    k.shape(axis) > 0 && q.shape(1) % k.shape(axis) == 0 &&
                    (k.dtype() == mx::uint8) == (v.dtype() == mx::uint8);
  if (!fits) {
    fail(ErrorKind::kInvalidData,
         "[attention] expected q [T, H, D] and k, v {} with D <= {} and H a multiple of K but got "
         "{}, {} and {}",
         heads_first ? "[K, C, D]" : "[S, K, D]", kHeadDimMax, shape_text(q), shape_text(k),
         shape_text(v));
  }
  return {q.shape(1), k.shape(axis), q.shape(2)};
}

isa::KeyRange causal_keys(int position, const AttentionOptions& options) {
  isa::KeyRange seen{0, position + 1};
  if (options.window > 0) seen.begin = std::max(0, seen.end - options.window);
  if (options.chunk > 0)
    seen.begin = std::max(seen.begin, position / options.chunk * options.chunk);
  const auto span = std::find_if(options.spans.begin(), options.spans.end(),
                                 [&](const PositionSpan& s) { return position < s.end; });
  if (span != options.spans.end() && span->begin <= position) {
    seen.begin = std::min(seen.begin, span->begin);
    seen.end = span->end;
  }
  return seen;
}

bool has_bf16_products(mx::Dtype k, mx::Dtype v, const AttentionOptions& options) {
  const bool decode = options.decode && numerics() == Numerics::kFast;
  if (decode || !can_have_bf16_products()) return false;
  if (k == mx::uint8) return options.products == Products::kBFloat16;
  return k == mx::bfloat16 && v == mx::bfloat16;
}

mx::array causal_attention(const mx::array& q_THD, const mx::array& k_KCD, const mx::array& v_KCD,
                           int past, const AttentionOptions& options) {
  const Heads heads =
      checked_heads(q_THD, k_KCD, v_KCD, KeyAxes::kHeadsFirst, options.kv_group_size);
  const int rows = q_THD.shape(0);
  const int keys = past + rows;
  if (past < 0 || keys > k_KCD.shape(1)) {
    fail(ErrorKind::kInvalidData, "[attention] expected room for {} keys but got buffers of {}",
         keys, k_KCD.shape(1));
  }
  check_spans(options.spans, keys);
  Stretch stretch{0, 0, {}};
  for (int i = 0; i < rows; ++i) stretch.seen.push_back(causal_keys(past + i, options));
  return attention_op("fovea::causal_attention", q_THD, k_KCD, v_KCD,
                      {heads,
                       KeyAxes::kHeadsFirst,
                       {stretch},
                       options,
                       keys,
                       has_bf16_products(k_KCD.dtype(), v_KCD.dtype(), options)});
}

mx::array cross_attention(const mx::array& q_THD, const mx::array& k_SKD, const mx::array& v_SKD,
                          const AttentionOptions& options) {
  const Heads heads =
      checked_heads(q_THD, k_SKD, v_SKD, KeyAxes::kKeysFirst, options.kv_group_size);
  const int keys = k_SKD.shape(0);
  const std::vector<isa::KeyRange> all(static_cast<size_t>(q_THD.shape(0)), {0, keys});
  return attention_op("fovea::cross_attention", q_THD, k_SKD, v_SKD,
                      {heads,
                       KeyAxes::kKeysFirst,
                       {{0, 0, all}},
                       options,
                       keys,
                       has_bf16_products(k_SKD.dtype(), v_SKD.dtype(), options)});
}

mx::array segment_attention(const mx::array& q_THD, const mx::array& k_THD, const mx::array& v_THD,
                            const std::vector<int>& cu_seqlens, float scale, Products products) {
  AttentionOptions options;
  options.scale = scale;
  const Heads heads =
      checked_heads(q_THD, k_THD, v_THD, KeyAxes::kKeysFirst, options.kv_group_size);
  const int rows = q_THD.shape(0);
  if (cu_seqlens.empty() || cu_seqlens.front() != 0 || cu_seqlens.back() != rows ||
      k_THD.shape(0) != rows || !std::is_sorted(cu_seqlens.begin(), cu_seqlens.end())) {
    fail(ErrorKind::kInvalidData,
         "[attention] expected segments that rise from 0 to {} rows of queries and keys but got "
         "[{}] and {} keys",
         rows, fmt::join(cu_seqlens, ", "), k_THD.shape(0));
  }
  std::vector<Stretch> stretches;
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    const int begin = cu_seqlens[i];
    const auto count = static_cast<size_t>(cu_seqlens[i + 1] - begin);
    if (count == 0) continue;
    stretches.push_back({begin, begin, {count, isa::KeyRange{0, static_cast<int>(count)}}});
  }
  return attention_op("fovea::segment_attention", q_THD, k_THD, v_THD,
                      {heads, KeyAxes::kKeysFirst, std::move(stretches), options, rows,
                       products == Products::kBFloat16 && can_have_bf16_products()});
}

}  // namespace fovea::kernels
