// Attention cut into pieces for the threads.
#include <algorithm>
#include <deque>
#include <limits>
#include <optional>
#include <utility>
#include <variant>

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

isa::KeyRange union_of(const std::vector<isa::KeyRange>& seen) {
  isa::KeyRange all = seen[0];
  for (const auto& one : seen) {
    all.begin = std::min(all.begin, one.begin);
    all.end = std::max(all.end, one.end);
  }
  return all;
}

// A stretch in pieces for the threads: some rows of some of the heads that share a key head, as
// many as the inner loop takes. Those of a key head follow each other, since its keys stay in the
// cache; the last rows of a head come first: in a prompt, theirs are the longest histories. Few
// rows are cut by splits of their history too, one after another: memory is read as it lies.
class Pieces {
 public:
  // `whole` is the stretch's rows of all heads; its keys and values are those of the first head.
  // `seen` and the places stay the caller's.
  Pieces(const Heads& heads, bool bf16, const isa::AttentionRows& whole,
         const std::vector<isa::KeyRange>& seen, int64_t k_head_bytes, int64_t v_head_bytes)
      : heads_(heads),
        whole_(whole),
        k_head_bytes_(k_head_bytes),
        v_head_bytes_(v_head_bytes),
        group_(heads_.query / heads_.key) {
    const int queries_max = bf16 ? isa::kFlashQueries : isa::kQueries;
    group_cut_ = std::min(group_, queries_max);
    row_cut_ = std::min(whole.rows, queries_max / group_cut_);
    groups_ = (group_ + group_cut_ - 1) / group_cut_;
    const isa::KeyRange keys = union_of(seen);
    if (bf16 || whole.rows > kFewRows || keys.end - keys.begin <= isa::kSplit) return;
    first_split_ = keys.begin / isa::kSplit;
    splits_ = (keys.end + isa::kSplit - 1) / isa::kSplit - first_split_;
  }

  int count() const { return row_pieces() * heads_.key * groups_; }
  int splits() const { return splits_; }
  int first_split() const { return first_split_; }
  int head_dim() const { return heads_.dim; }

  // What all splits of a piece leave behind, in floats.
  size_t split_floats() const {
    return static_cast<size_t>(row_cut_ * group_cut_) * isa::part_floats(heads_.dim);
  }

  isa::AttentionRows piece(int i) const {
    i = count() - 1 - i;
    const int64_t row = i % row_pieces() * row_cut_;
    const int in_group = i / row_pieces() % groups_ * group_cut_;
    const int key_head = i / row_pieces() / groups_;
    const int64_t head = int64_t{key_head} * group_ + in_group;
    isa::AttentionRows rows = whole_;
    rows.q += row * rows.q_stride + head * rows.q_head_stride;
    rows.out += row * rows.out_stride + head * heads_.dim;
    rows.k_offset += key_head * k_head_bytes_;
    rows.v_offset += key_head * v_head_bytes_;
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
  int first_split_ = 0;
  int splits_ = 1;
};

float* scratch_of(size_t floats) {
  thread_local std::vector<float> memory;
  return kept(memory, floats);
}

// The work on all stretches, shared among the threads at once.
class Shares {
 public:
  explicit Shares(bool bf16) : bf16_(bf16) {}

  void add(const Pieces& pieces) {
    shares_.push_back({pieces, items_, merges_, parts_});
    items_ += pieces.count() * pieces.splits();
    if (pieces.splits() == 1) return;
    merges_ += pieces.count();
    parts_ += static_cast<size_t>(pieces.count() * pieces.splits()) * pieces.split_floats();
  }

  void run() const {
    thread_local std::vector<float> memory;
    float* const parts = parts_ > 0 ? kept(memory, parts_) : nullptr;
    parallel_for(items_, 1, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) attend(i, parts);
    });
    if (parts) {
      parallel_for(merges_, 1, [&](int begin, int end) {
        for (int i = begin; i < end; ++i) merge(i, parts);
      });
    }
  }

 private:
  struct Share {
    Pieces pieces;
    int first_item;
    int first_merge;
    size_t first_part;
  };

  const Share& share_at(int Share::*first, int i) const {
    const auto next =
        std::upper_bound(shares_.begin(), shares_.end(), i,
                         [&](int value, const Share& share) { return value < share.*first; });
    return *(next - 1);
  }

  void attend(int item, float* parts) const {
    const Share& share = share_at(&Share::first_item, item);
    const Pieces& pieces = share.pieces;
    const int i = item - share.first_item;
    const int dim = pieces.head_dim();
    if (bf16_) {
      isa::table().attend_bf16(pieces.piece(i), scratch_of(isa::attend_bf16_floats(dim)));
    } else if (pieces.splits() == 1) {
      isa::table().attend(pieces.piece(i), scratch_of(isa::attend_floats(dim)));
    } else {
      isa::table().attend_split(pieces.piece(i / pieces.splits()),
                                pieces.first_split() + i % pieces.splits(),
                                scratch_of(isa::attend_floats(dim)),
                                parts + share.first_part + i * pieces.split_floats());
    }
  }

  void merge(int number, const float* parts) const {
    const Share& share = share_at(&Share::first_merge, number);
    const Pieces& pieces = share.pieces;
    const int i = number - share.first_merge;
    isa::table().merge_splits(
        pieces.piece(i), parts + share.first_part + i * pieces.splits() * pieces.split_floats(),
        pieces.split_floats(), pieces.splits(), scratch_of(isa::attend_floats(pieces.head_dim())));
  }

  bool bf16_;
  std::vector<Share> shares_;
  int items_ = 0;
  int merges_ = 0;
  size_t parts_ = 0;
};

// Keys and values as they lie in the inputs, or copies that last as long as this.
template <class T>
class Source {
 public:
  Source(const Work& work, const Arrays& in) : k_(in[1], work.axes), v_(in[2], work.axes) {
    const auto& options = work.options;
    rows_.head_dim = work.heads.dim;
    rows_.k_stride = k_.stride() * int64_t{sizeof(T)};
    rows_.v_stride = v_.stride() * int64_t{sizeof(T)};
    rows_.kv_type = sizeof(T) == 1   ? isa::KvType::kBytes
                    : sizeof(T) == 2 ? isa::KvType::kBF16
                                     : isa::KvType::kF32;
    rows_.kv_group = options.kv_group_size;
    rows_.scale = options.scale;
    rows_.softcap = options.softcap;
    rows_.place_keys = std::numeric_limits<int>::max();
    k_place_ = k_.row(0);
    v_place_ = v_.row(0);
    if (work.mask) {
      mask_.emplace(in[3]);
      rows_.mask = mask_->data();
      rows_.mask_stride = work.keys;
      if (in[3].ndim() == 3) rows_.mask_head_stride = int64_t{in[3].shape(1)} * work.keys;
    }
    if (work.sinks) rows_.sinks = sinks_.emplace(in.back()).data();
  }

  // Stays where it is until the shares have run.
  void add_to(Shares& shares, const Work& work, const HeadRows<float>& q, float* out) {
    rows_.k = &k_place_;
    rows_.v = &v_place_;
    rows_.q_stride = q.stride();
    rows_.q_head_stride = q.head_stride();
    rows_.out_stride = int64_t{work.heads.query} * work.heads.dim;
    for (const auto& stretch : work.stretches) {
      if (stretch.seen.empty()) continue;
      rows_.q = q.row(stretch.first_row);
      rows_.out = out + stretch.first_row * rows_.out_stride;
      rows_.rows = stretch.rows();
      rows_.seen = stretch.seen.data();
      rows_.k_offset = stretch.first_key * rows_.k_stride;
      rows_.v_offset = stretch.first_key * rows_.v_stride;
      shares.add(Pieces(work.heads, work.bf16, rows_, stretch.seen,
                        k_.head_stride() * int64_t{sizeof(T)},
                        v_.head_stride() * int64_t{sizeof(T)}));
    }
  }

 private:
  HeadRows<T> k_;
  HeadRows<T> v_;
  std::optional<Floats> mask_;
  std::optional<Floats> sinks_;
  const void* k_place_;
  const void* v_place_;
  isa::AttentionRows rows_;
};

using AnySource = std::variant<Source<uint8_t>, Source<uint16_t>, Source<float>>;

AnySource source_of(const Work& work, const Arrays& in) {
  switch (mx::size_of(in[1].dtype())) {
    case 1:
      return AnySource(std::in_place_type<Source<uint8_t>>, work, in);
    case 2:
      return AnySource(std::in_place_type<Source<uint16_t>>, work, in);
    default:
      return AnySource(std::in_place_type<Source<float>>, work, in);
  }
}

}  // namespace

void run_attention(const Work& work, const Arrays& in, float* out) {
  const HeadRows<float> q(in[0]);
  AnySource source = source_of(work, in);
  Shares shares(work.bf16);
  std::visit([&](auto& s) { s.add_to(shares, work, q, out); }, source);
  shares.run();
}

void run_block_attention(const BlockWork& work, const Arrays& in, float* out) {
  const HeadRows<float> q(in[0]);
  const BlockLayout& layout = work.layout;
  std::optional<Floats> sinks;
  isa::AttentionRows rows;
  rows.head_dim = layout.head_dim;
  rows.q_stride = q.stride();
  rows.q_head_stride = q.head_stride();
  rows.out_stride = int64_t{work.heads.query} * layout.head_dim;
  rows.k_stride = rows.v_stride = layout.row_bytes();
  rows.k_offset = layout.offset;
  rows.v_offset = layout.offset + layout.bytes() / 2;
  rows.kv_type = layout.dtype == mx::uint8      ? isa::KvType::kBytes
                 : layout.dtype == mx::bfloat16 ? isa::KvType::kBF16
                                                : isa::KvType::kF32;
  rows.kv_group = layout.group_size;
  rows.scale = work.options.scale;
  rows.softcap = work.options.softcap;
  rows.place_keys = kBlockRows;
  if (work.sinks) rows.sinks = sinks.emplace(in.back()).data();
  const int64_t head_bytes = kBlockRows * layout.row_bytes();
  // What is exact and what has products in bfloat16.
  for (const bool bf16 : {false, true}) {
    Shares shares(bf16);
    for (size_t i = 0; i < work.runs->size(); ++i) {
      const BlockRun& run = (*work.runs)[i];
      if (work.bf16[i] != bf16 || run.count == 0) continue;
      rows.q = q.row(run.begin);
      rows.out = out + run.begin * rows.out_stride;
      rows.rows = run.count;
      rows.seen = work.seen[i].data();
      rows.k = rows.v = reinterpret_cast<const void* const*>(run.blocks.data());
      shares.add(Pieces(work.heads, bf16, rows, work.seen[i], head_bytes, head_bytes));
    }
    shares.run();
  }
}

}  // namespace fovea::kernels
