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

struct Work {
  Heads heads;
  std::vector<Stretch> stretches;
  AttentionOptions options;
  bool bf16;  // products
};

// A stretch in pieces for the threads: some rows of some of the heads that share a key head, as
// many as the inner loop takes. Numbered from the longest histories on.
class Pieces {
 public:
  Pieces(const Heads& heads, const Stretch& stretch, int queries_max)
      : heads_(heads),
        stretch_(stretch),
        group_(heads.query / heads.key),
        group_cut_(std::min(group_, queries_max)),
        row_cut_(std::min(stretch.rows, queries_max / group_cut_)),
        groups_((group_ + group_cut_ - 1) / group_cut_) {}

  int count() const { return (stretch_.rows + row_cut_ - 1) / row_cut_ * heads_.key * groups_; }

  int queries() const { return row_cut_ * group_cut_; }  // of the largest

  template <class T>
  isa::AttentionRows piece(int i, const float* q, const T* k, const T* v, float* out) const {
    i = count() - 1 - i;
    const int head = i % groups_ * group_cut_;  // within its group
    const int key_head = i / groups_ % heads_.key;
    const int row = i / groups_ / heads_.key * row_cut_;
    isa::AttentionRows rows;
    rows.q_stride = int64_t{heads_.query} * heads_.dim;
    rows.kv_stride = int64_t{heads_.key} * heads_.dim;
    const int64_t q_at = (stretch_.first_row + row) * rows.q_stride +
                         (int64_t{key_head} * group_ + head) * heads_.dim;
    const int64_t kv_at = stretch_.first_key * rows.kv_stride + int64_t{key_head} * heads_.dim;
    rows.q = q + q_at;
    rows.k = k + kv_at;
    rows.v = v + kv_at;
    rows.kv_dtype = sizeof(T) == 2 ? isa::Float::kBF16 : isa::Float::kF32;
    rows.out = out + q_at;
    rows.rows = std::min(row_cut_, stretch_.rows - row);
    rows.group = std::min(group_cut_, group_ - head);
    rows.head_dim = heads_.dim;
    rows.last_key = stretch_.keys_seen + row * stretch_.key_step;
    rows.key_step = stretch_.key_step;
    return rows;
  }

 private:
  Heads heads_;
  Stretch stretch_;
  int group_;
  int group_cut_;
  int row_cut_;
  int groups_;
};

float* scratch_of(size_t floats) {
  thread_local std::vector<float> memory;
  return kept(memory, floats);
}

// One row in splits of its history, each with all heads, so that memory is read as it lies.
template <class Piece>
void attend_splits(int pieces, int queries, Piece piece_of) {
  const isa::AttentionRows any = piece_of(0);
  const int dim = any.head_dim;
  const int first = any.window > 0 ? std::max(0, any.last_key - any.window) / isa::kSplit : 0;
  const int splits = (any.last_key + isa::kSplit - 1) / isa::kSplit - first;
  const size_t size = queries * isa::part_floats(dim);
  thread_local std::vector<float> memory;
  float* const parts = kept(memory, size * pieces * splits);
  parallel_for(pieces * splits, 1, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      isa::table().attend_split(piece_of(i % pieces), first + i / pieces,
                                scratch_of(isa::attend_floats(dim)), parts + i * size);
    }
  });
  parallel_for(pieces, 1, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      isa::table().merge_splits(piece_of(i), parts + i * size, pieces * size, splits,
                                scratch_of(isa::attend_floats(dim)));
    }
  });
}

template <class T>
void run_attention(const Work& work, const Arrays& in, float* out) {
  const Floats q(in[0]);
  const Elements<T> k(in[1]);
  const Elements<T> v(in[2]);
  const auto attend = work.bf16 ? isa::table().attend_bf16 : isa::table().attend;
  const int dim = work.heads.dim;
  const size_t floats = work.bf16 ? isa::attend_bf16_floats(dim) : isa::attend_floats(dim);
  for (const auto& stretch : work.stretches) {
    const Pieces pieces(work.heads, stretch, work.bf16 ? isa::kFlashQueries : isa::kQueries);
    const auto piece_of = [&](int i) {
      auto rows = pieces.piece(i, q.data(), k.data(), v.data(), out);
      rows.window = work.options.window;
      rows.scale = work.options.scale;
      rows.softcap = work.options.softcap;
      return rows;
    };
    if (!work.bf16 && stretch.rows == 1 && stretch.keys_seen > isa::kSplit) {
      attend_splits(pieces.count(), pieces.queries(), piece_of);
      continue;
    }
    parallel_for(pieces.count(), 1, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) attend(piece_of(i), scratch_of(floats));
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

// Keys and values keep bfloat16 where both have it.
mx::array attention_op(const char* name, const mx::array& q, const mx::array& k, const mx::array& v,
                       Work work, int keys) {
  const bool halves = k.dtype() == mx::bfloat16 && v.dtype() == mx::bfloat16;
  const auto kv_dtype = halves ? mx::bfloat16 : mx::float32;
  work.bf16 = work.bf16 && numerics() != Numerics::kFloat32 && isa::table().attend_bf16;
  Op op;
  op.name = name;
  op.shape = q.shape();
  op.run = [work, halves](const Arrays& in, float* out) {
    halves ? run_attention<uint16_t>(work, in, out) : run_attention<float>(work, in, out);
  };
  op.fallback = [work, keys](const Arrays& in) {
    const auto used = [&](const mx::array& x) {
      return mx::astype(mx::slice(x, {0, 0, 0}, {keys, x.shape(1), x.shape(2)}), mx::float32);
    };
    const auto mask = mask_of(work.stretches, in[0].shape(0), keys, work.options.window);
    return attention_fallback({in[0], used(in[1]), used(in[2])}, mask, work.heads, work.options);
  };
  if (work.bf16) op.tolerance = kBFloat16Tolerance;
  return make_op(std::move(op),
                 {mx::astype(q, mx::float32), mx::astype(k, kv_dtype), mx::astype(v, kv_dtype)});
}

}  // namespace

mx::array causal_attention(const mx::array& q_THD, const mx::array& k_CKD, const mx::array& v_CKD,
                           int past, const AttentionOptions& options) {
  const Heads heads = checked_heads(q_THD, k_CKD, v_CKD);
  const int rows = q_THD.shape(0);
  if (past < 0 || past + rows > k_CKD.shape(0)) {
    fail(ErrorKind::kInvalidData, "[attention] expected room for {} keys but got buffers of {}",
         past + rows, k_CKD.shape(0));
  }
  const bool decode = options.decode && numerics() == Numerics::kFast;
  const bool bf16 = !decode && k_CKD.dtype() == mx::bfloat16 && v_CKD.dtype() == mx::bfloat16;
  return attention_op("fovea::causal_attention", q_THD, k_CKD, v_CKD,
                      {heads, {{0, rows, 0, past + 1, 1}}, options, bf16}, past + rows);
}

mx::array segment_attention(const mx::array& q_THD, const mx::array& k_THD, const mx::array& v_THD,
                            const std::vector<int>& cu_seqlens, float scale, Products products) {
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
  AttentionOptions options;
  options.scale = scale;
  return attention_op("fovea::segment_attention", q_THD, k_THD, v_THD,
                      {heads, std::move(stretches), options, products == Products::kBFloat16},
                      q_THD.shape(0));
}

}  // namespace fovea::kernels
