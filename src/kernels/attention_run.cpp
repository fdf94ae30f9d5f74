// Attention cut into pieces for the threads.
#include <algorithm>
#include <limits>
#include <optional>

#include "kernels/attention_work.h"

namespace fovea::kernels {
namespace {

// Fewer rows than these share their history between threads.
constexpr int kFewRows = 8;

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
// many as the inner loop takes. Those of a key head follow each other, since its keys stay in the
// cache; the last rows of a head come first: in a prompt, theirs are the longest histories.
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

  int count() const { return row_pieces() * heads_.key * groups_; }

  int queries() const { return row_cut_ * group_cut_; }  // of the largest

  isa::AttentionRows piece(int i) const {
    i = count() - 1 - i;
    const int64_t row = i % row_pieces() * row_cut_;
    const int in_group = i / row_pieces() % groups_ * group_cut_;
    const int key_head = i / row_pieces() / groups_;
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
  int row_pieces() const { return (whole_.rows + row_cut_ - 1) / row_cut_; }

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
void run_over(const Work& work, const Arrays& in, float* out) {
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
  rows.kv_type = sizeof(T) == 1   ? isa::KvType::kBytes
                 : sizeof(T) == 2 ? isa::KvType::kBF16
                                  : isa::KvType::kF32;
  rows.kv_group = options.kv_group_size;
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

}  // namespace

void run_attention(const Work& work, const Arrays& in, float* out) {
  switch (mx::size_of(in[1].dtype())) {
    case 1:
      return run_over<uint8_t>(work, in, out);
    case 2:
      return run_over<uint16_t>(work, in, out);
    default:
      return run_over<float>(work, in, out);
  }
}

}  // namespace fovea::kernels
