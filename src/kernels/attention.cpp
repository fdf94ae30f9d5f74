#include "kernels/attention.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "kernels/isa/isa.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kHeadDimMax = 256;
// Of the largest value, for products in bfloat16: two roundings of 2^-9, of which scores that weigh
// little make more.
constexpr float kBFloat16Tolerance = 2e-2f;
// Fewer rows than these share their history between threads.
constexpr int kFewRows = 8;

// Queries that meet one stretch of keys. Blocks of keys are counted from the stretch's first key,
// so that a picture's bits do not depend on the pictures before it.
struct Stretch {
  int first_row;
  int first_key;
  std::vector<isa::KeyRange> seen;  // by each row, counted from first_key

  int rows() const { return static_cast<int>(seen.size()); }
};

struct Heads {
  int query;
  int key;
  int dim;
};

// Which axis of keys and values counts the heads; the other counts the keys.
enum class KeyAxes { kKeysFirst, kHeadsFirst };

Heads checked_heads(const mx::array& q, const mx::array& k, const mx::array& v, KeyAxes axes) {
  const bool heads_first = axes == KeyAxes::kHeadsFirst;
  const int axis = heads_first ? 0 : 1;
  const bool fits = q.ndim() == 3 && k.ndim() == 3 && k.shape() == v.shape() &&
                    q.shape(2) == k.shape(2) && k.shape(axis) > 0 &&
                    q.shape(1) % k.shape(axis) == 0 && q.shape(2) > 0 && q.shape(2) <= kHeadDimMax;
  if (!fits) {
    fail(ErrorKind::kInvalidData,
         "[attention] expected q [T, H, D] and k, v {} with D <= {} and H a multiple of K but got "
         "{}, {} and {}",
         heads_first ? "[K, C, D]" : "[S, K, D]", kHeadDimMax, shape_text(q), shape_text(k),
         shape_text(v));
  }
  return {q.shape(1), k.shape(axis), q.shape(2)};
}

struct Work {
  Heads heads;
  KeyAxes axes;
  std::vector<Stretch> stretches;
  AttentionOptions options;  // without its arrays, which are inputs
  int keys;                  // that rows may see, in all
  bool bf16;                 // products
  bool mask = false;         // input 3
  bool sinks = false;        // the last input
};

// Rows of heads: the array's own memory when the elements of a head lie together, else a copy.
template <class T>
class HeadRows {
 public:
  explicit HeadRows(const mx::array& a, KeyAxes axes = KeyAxes::kKeysFirst) {
    int64_t outer = int64_t{a.shape(1)} * a.shape(2);
    int64_t inner = a.shape(2);
    if (a.size() > 0 && (a.strides()[2] == 1 || a.shape(2) == 1)) {
      data_ = a.data<T>();
      outer = a.strides()[0];
      inner = a.strides()[1];
    } else {
      data_ = copy_.emplace(a).data();
    }
    const bool heads_first = axes == KeyAxes::kHeadsFirst;
    stride_ = heads_first ? inner : outer;
    head_stride_ = heads_first ? outer : inner;
  }
  const T* row(int64_t i) const { return data_ + i * stride_; }
  int64_t stride() const { return stride_; }
  int64_t head_stride() const { return head_stride_; }

 private:
  std::optional<Elements<T>> copy_;
  const T* data_;
  int64_t stride_;
  int64_t head_stride_;
};

// A stretch in pieces for the threads: some rows of some of the heads that share a key head, as
// many as the inner loop takes. Numbered from the last rows on: in a prompt, theirs are the longest
// histories.
class Pieces {
 public:
  // `whole` is the stretch's rows of all heads; its keys and values are those of the first head.
  Pieces(const Heads& heads, isa::AttentionRows whole, int64_t k_head_bytes, int64_t v_head_bytes,
         int queries_max)
      : heads_(heads),
        whole_(whole),
        k_head_bytes_(k_head_bytes),
        v_head_bytes_(v_head_bytes),
        group_(heads.query / heads.key),
        group_cut_(std::min(group_, queries_max)),
        row_cut_(std::min(whole.rows, queries_max / group_cut_)),
        groups_((group_ + group_cut_ - 1) / group_cut_) {}

  int count() const { return (whole_.rows + row_cut_ - 1) / row_cut_ * heads_.key * groups_; }

  int queries() const { return row_cut_ * group_cut_; }  // of the largest

  isa::AttentionRows piece(int i) const {
    i = count() - 1 - i;
    const int in_group = i % groups_ * group_cut_;
    const int key_head = i / groups_ % heads_.key;
    const int64_t row = i / groups_ / heads_.key * row_cut_;
    const int64_t head = int64_t{key_head} * group_ + in_group;
    isa::AttentionRows rows = whole_;
    rows.q += row * rows.q_stride + head * rows.q_head_stride;
    rows.out += row * rows.out_stride + head * heads_.dim;
    rows.k_offset = key_head * k_head_bytes_;
    rows.v_offset = key_head * v_head_bytes_;
    rows.seen += row;
    if (rows.mask) rows.mask += row * rows.mask_stride + head * rows.mask_head_stride;
    if (rows.sinks) rows.sinks += head;
    rows.rows = std::min(row_cut_, whole_.rows - static_cast<int>(row));
    rows.group = std::min(group_cut_, group_ - in_group);
    return rows;
  }

 private:
  Heads heads_;
  isa::AttentionRows whole_;
  int64_t k_head_bytes_;
  int64_t v_head_bytes_;
  int group_;
  int group_cut_;
  int row_cut_;
  int groups_;
};

float* scratch_of(size_t floats) {
  thread_local std::vector<float> memory;
  return kept(memory, floats);
}

isa::KeyRange union_of(const std::vector<isa::KeyRange>& seen) {
  isa::KeyRange all = seen[0];
  for (const auto& one : seen) {
    all.begin = std::min(all.begin, one.begin);
    all.end = std::max(all.end, one.end);
  }
  return all;
}

// Few rows in splits of their history, those of a head one after another: memory is read as it
// lies.
void attend_splits(const Pieces& pieces, isa::KeyRange keys) {
  const int dim = pieces.piece(0).head_dim;
  const int count = pieces.count();
  const int first = keys.begin / isa::kSplit;
  const int splits = (keys.end + isa::kSplit - 1) / isa::kSplit - first;
  const size_t size = static_cast<size_t>(pieces.queries()) * isa::part_floats(dim);
  thread_local std::vector<float> memory;
  float* const parts =
      kept(memory, size * static_cast<size_t>(count) * static_cast<size_t>(splits));
  parallel_for(count * splits, 1, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      isa::table().attend_split(pieces.piece(i / splits), first + i % splits,
                                scratch_of(isa::attend_floats(dim)), parts + i * size);
    }
  });
  parallel_for(count, 1, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      isa::table().merge_splits(pieces.piece(i), parts + i * splits * size, size, splits,
                                scratch_of(isa::attend_floats(dim)));
    }
  });
}

void attend_stretch(const Work& work, const Pieces& pieces, const Stretch& stretch) {
  const int dim = work.heads.dim;
  const isa::KeyRange keys = union_of(stretch.seen);
  if (!work.bf16 && stretch.rows() <= kFewRows && keys.end - keys.begin > isa::kSplit) {
    return attend_splits(pieces, keys);
  }
  const auto attend = work.bf16 ? isa::table().attend_bf16 : isa::table().attend;
  const size_t floats = work.bf16 ? isa::attend_bf16_floats(dim) : isa::attend_floats(dim);
  parallel_for(pieces.count(), 1, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) attend(pieces.piece(i), scratch_of(floats));
  });
}

template <class T>
void run_attention(const Work& work, const Arrays& in, float* out) {
  const HeadRows<float> q(in[0]);
  const HeadRows<T> k(in[1], work.axes);
  const HeadRows<T> v(in[2], work.axes);
  const auto& options = work.options;
  isa::AttentionRows rows;
  rows.q_stride = q.stride();
  rows.q_head_stride = q.head_stride();
  rows.out_stride = int64_t{work.heads.query} * work.heads.dim;
  rows.head_dim = work.heads.dim;
  rows.k_stride = k.stride() * int64_t{sizeof(T)};
  rows.v_stride = v.stride() * int64_t{sizeof(T)};
  rows.kv_type = sizeof(T) == 2 ? isa::KvType::kBF16 : isa::KvType::kF32;
  rows.scale = options.scale;
  rows.softcap = options.softcap;
  std::optional<Floats> mask;
  std::optional<Floats> sinks;
  if (work.mask) {
    mask.emplace(in[3]);
    rows.mask = mask->data();
    rows.mask_stride = work.keys;
    if (in[3].ndim() == 3) rows.mask_head_stride = int64_t{in[3].shape(1)} * work.keys;
  }
  if (work.sinks) rows.sinks = sinks.emplace(in.back()).data();
  for (const auto& stretch : work.stretches) {
    if (stretch.seen.empty()) continue;
    const void* const k_places[] = {k.row(stretch.first_key)};
    const void* const v_places[] = {v.row(stretch.first_key)};
    rows.q = q.row(stretch.first_row);
    rows.out = out + stretch.first_row * rows.out_stride;
    rows.rows = stretch.rows();
    rows.k = k_places;
    rows.v = v_places;
    rows.place_keys = std::numeric_limits<int>::max();
    rows.seen = stretch.seen.data();
    const Pieces pieces(work.heads, rows, k.head_stride() * int64_t{sizeof(T)},
                        v.head_stride() * int64_t{sizeof(T)},
                        work.bf16 ? isa::kFlashQueries : isa::kQueries);
    attend_stretch(work, pieces, stretch);
  }
}

// 0 where a row sees the key, -inf elsewhere: [T, S].
mx::array visible(const std::vector<Stretch>& stretches, int rows, int keys) {
  std::vector<float> mask(static_cast<size_t>(rows) * static_cast<size_t>(keys),
                          -std::numeric_limits<float>::infinity());
  for (const auto& s : stretches) {
    for (int r = 0; r < s.rows(); ++r) {
      const auto row = mask.begin() + int64_t{s.first_row + r} * keys + s.first_key;
      const auto seen = s.seen[static_cast<size_t>(r)];
      std::fill(row + seen.begin, row + seen.end, 0.0f);
    }
  }
  return mx::array(mask.data(), {rows, keys}, mx::float32);
}

// softmax over the last axis of scores [H, T, S], with a sink of each head beside them; zeros where
// all scores are -inf.
mx::array softmax_weights(const mx::array& scores, const std::optional<mx::array>& sinks) {
  const auto lowest = mx::array(-std::numeric_limits<float>::infinity());
  auto peak = mx::max(scores, -1, true);
  const auto sink_H11 = sinks ? mx::reshape(*sinks, {-1, 1, 1}) : lowest;
  peak = mx::maximum(peak, sink_H11);
  const auto base = mx::stop_gradient(mx::where(mx::equal(peak, lowest), mx::array(0.0f), peak));
  const auto weights = mx::exp(mx::subtract(scores, base));
  const auto sum = mx::add(mx::sum(weights, -1, true), mx::exp(mx::subtract(sink_H11, base)));
  return mx::divide(weights, mx::where(mx::equal(sum, mx::array(0.0f)), mx::array(1.0f), sum));
}

// Plain attention: q [T, H, D] over keys and values, the mask and sinks behind them.
mx::array attention_fallback(const Work& work, const Arrays& in) {
  const auto& options = work.options;
  const auto per_head = [&](const mx::array& x) {
    const bool heads_first = work.axes == KeyAxes::kHeadsFirst;
    const auto x_KCD = heads_first ? x : mx::transpose(x, {1, 0, 2});
    const auto x_KSD = mx::slice(x_KCD, {0, 0, 0}, {work.heads.key, work.keys, work.heads.dim});
    const auto wide = mx::repeat(x_KSD, work.heads.query / work.heads.key, 0);
    return mx::astype(wide, mx::float32);
  };
  const auto q_HTD = mx::transpose(in[0], {1, 0, 2});
  auto scores = mx::multiply(mx::matmul(q_HTD, mx::swapaxes(per_head(in[1]), 1, 2)),
                             mx::array(options.scale));
  if (options.softcap > 0) {
    const mx::array cap(options.softcap);
    scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  }
  if (work.mask) scores = mx::add(scores, in[3]);
  scores = mx::add(scores, visible(work.stretches, in[0].shape(0), work.keys));
  const auto weights =
      softmax_weights(scores, work.sinks ? std::optional(in.back()) : std::nullopt);
  return mx::transpose(mx::matmul(weights, per_head(in[2])), {1, 0, 2});
}

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

// Keys and values keep bfloat16 where both have it.
mx::array attention_op(const char* name, const mx::array& q, const mx::array& k, const mx::array& v,
                       Work work) {
  check_extras(q, work.keys, work.options);
  const bool halves = k.dtype() == mx::bfloat16 && v.dtype() == mx::bfloat16;
  const auto kv_dtype = halves ? mx::bfloat16 : mx::float32;
  work.bf16 = work.bf16 && numerics() != Numerics::kFloat32 && isa::table().attend_bf16;
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
  op.run = [work, halves](const Arrays& in, float* out) {
    halves ? run_attention<uint16_t>(work, in, out) : run_attention<float>(work, in, out);
  };
  op.fallback = [work](const Arrays& in) { return attention_fallback(work, in); };
  if (work.bf16) op.tolerance = kBFloat16Tolerance;
  return make_op(std::move(op), inputs);
}

bool has_bf16_products(const mx::array& k, const mx::array& v, const AttentionOptions& options) {
  const bool decode = options.decode && numerics() == Numerics::kFast;
  return !decode && k.dtype() == mx::bfloat16 && v.dtype() == mx::bfloat16;
}

void check_spans(const std::vector<PositionSpan>& spans, int keys) {
  int last = 0;
  for (const auto& span : spans) {
    if (span.begin < last || span.end < span.begin || span.end > keys) {
      fail(ErrorKind::kInvalidData,
           "[attention] expected spans that rise and end within {} keys but got [{}, {}) behind {}",
           keys, span.begin, span.end, last);
    }
    last = span.end;
  }
}

// What the row at `position` sees.
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

}  // namespace

mx::array causal_attention(const mx::array& q_THD, const mx::array& k_KCD, const mx::array& v_KCD,
                           int past, const AttentionOptions& options) {
  const Heads heads = checked_heads(q_THD, k_KCD, v_KCD, KeyAxes::kHeadsFirst);
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
                       has_bf16_products(k_KCD, v_KCD, options)});
}

mx::array cross_attention(const mx::array& q_THD, const mx::array& k_SKD, const mx::array& v_SKD,
                          const AttentionOptions& options) {
  const Heads heads = checked_heads(q_THD, k_SKD, v_SKD, KeyAxes::kKeysFirst);
  const int keys = k_SKD.shape(0);
  const std::vector<isa::KeyRange> all(static_cast<size_t>(q_THD.shape(0)), {0, keys});
  return attention_op("fovea::cross_attention", q_THD, k_SKD, v_SKD,
                      {heads,
                       KeyAxes::kKeysFirst,
                       {{0, 0, all}},
                       options,
                       keys,
                       has_bf16_products(k_SKD, v_SKD, options)});
}

mx::array segment_attention(const mx::array& q_THD, const mx::array& k_THD, const mx::array& v_THD,
                            const std::vector<int>& cu_seqlens, float scale, Products products) {
  const Heads heads = checked_heads(q_THD, k_THD, v_THD, KeyAxes::kKeysFirst);
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
  AttentionOptions options;
  options.scale = scale;
  return attention_op("fovea::segment_attention", q_THD, k_THD, v_THD,
                      {heads, KeyAxes::kKeysFirst, std::move(stretches), options, rows,
                       products == Products::kBFloat16});
}

}  // namespace fovea::kernels
