// Part of body.h: what attention works on, and how keys and values are read where they lie. Rows go
// by chunks of 32 elements in two halves, in the order that their storage gives cheapest; queries
// and sums over values are kept in the same order.

constexpr int kChunk = 2 * kLanes16;

// Those of the `keys` keys from `first` on that `seen` holds, counted from there.
KeyRange within(KeyRange seen, int first, int keys) {
  const int from = std::clamp(seen.begin - first, 0, keys);
  return {from, std::clamp(seen.end - first, from, keys)};
}

// What query t sees; queries are the heads of row 0, those of row 1, ...
KeyRange keys_of(const AttentionRows& a, int t) { return a.seen[t / a.group]; }

// The union of what the rows see.
KeyRange keys_of_all(const AttentionRows& a) {
  KeyRange all = a.seen[0];
  for (int i = 1; i < a.rows; ++i) {
    all.begin = std::min(all.begin, a.seen[i].begin);
    all.end = std::max(all.end, a.seen[i].end);
  }
  return all;
}

// Where it stands in `q`, and in `out`.
const float* query_at(const AttentionRows& a, int t) {
  return a.q + t / a.group * a.q_stride + t % a.group * a.q_head_stride;
}
float* output_at(const AttentionRows& a, int t) {
  return a.out + t / a.group * a.out_stride + t % a.group * a.head_dim;
}

// Its additive mask, by key; null for none.
const float* mask_at(const AttentionRows& a, int t) {
  if (!a.mask) return nullptr;
  return a.mask + t / a.group * a.mask_stride + t % a.group * a.mask_head_stride;
}

const std::byte* place_of(const void* const* places, int place_keys, int64_t stride, int key) {
  return static_cast<const std::byte*>(places[key / place_keys]) + key % place_keys * stride;
}
const std::byte* key_row(const AttentionRows& a, int key) {
  return place_of(a.k, a.place_keys, a.k_stride, key) + a.k_offset;
}
const std::byte* value_row(const AttentionRows& a, int key) {
  return place_of(a.v, a.place_keys, a.v_stride, key) + a.v_offset;
}

// The elements of a last chunk that is not whole, and zeros.
template <class T>
struct Tail {
  T elements[kChunk] = {};
  Tail(const T* p, int left) { std::memcpy(elements, p, static_cast<size_t>(left) * sizeof(T)); }
};

// A row of keys or values by the half of a chunk that begins at element `at`.
struct FloatRow {
  const float* p;
  FloatRow(const AttentionRows&, const std::byte* row) : p(reinterpret_cast<const float*>(row)) {}
  Vec16 half(int at, int h) const { return Vec16::load(p + at + h * kLanes16); }
  Vec16 tail(int at, int h, int left) const {
    const int count = std::clamp(left - h * kLanes16, 0, kLanes16);
    return count == 0 ? Vec16::zero() : Vec16::load_partial(p + at + h * kLanes16, count);
  }
};

// The even elements of a chunk, then the odd ones: each is a shift or a mask away.
struct HalfRow {
  const uint16_t* p;
  HalfRow(const AttentionRows&, const std::byte* row) : p(reinterpret_cast<const uint16_t*>(row)) {}
  Vec16 half(int at, int h) const { return h == 0 ? Vec16::evens(p + at) : Vec16::odds(p + at); }
  Vec16 tail(int at, int h, int left) const {
    const Tail tail(p + at, left);
    return h == 0 ? Vec16::evens(tail.elements) : Vec16::odds(tail.elements);
  }
};

// Codes with a scale and a bias of each group (kernels/kv_bytes.h); they come in whole chunks.
struct ByteRow {
  const uint8_t* codes;
  const float* scales;
  int group;
  ByteRow(const AttentionRows& a, const std::byte* row)
      : codes(reinterpret_cast<const uint8_t*>(row)),
        scales(reinterpret_cast<const float*>(row + (a.head_dim + kChunk - 1) / kChunk * kChunk)),
        group(a.kv_group) {}
  Vec16 half(int at, int h) const {
    const float* of_group = scales + at / group * 2;
    return Vec16::fma(Vec16::load_bytes(codes + at + h * kLanes16), Vec16::set1(of_group[0]),
                      Vec16::set1(of_group[1]));
  }
  Vec16 tail(int at, int h, int) const { return half(at, h); }
};

// One block of keys, and where the next one lies, to be fetched in the meantime; null for no next.
struct Block {
  const std::byte* k;
  const std::byte* v;
  const std::byte* next_k;
  const std::byte* next_v;
  int first;
  int keys;
};

// Of keys, without their stride.
int row_bytes(const AttentionRows& a) {
  if (a.kv_type != KvType::kBytes) return a.head_dim * (a.kv_type == KvType::kF32 ? 4 : 2);
  const int groups = (a.head_dim + a.kv_group - 1) / a.kv_group;
  return (a.head_dim + kChunk - 1) / kChunk * kChunk + groups * 2 * static_cast<int>(sizeof(float));
}

// The lines of `bytes` at an offset of a block, if there is one.
template <int kLevel = 3>
void fetch(const std::byte* block, int64_t offset, int bytes) {
  if (!block) return;
  for (int i = 0; i < bytes; i += 64) fetch_line<kLevel>(block + offset + i);
}

// What attend() keeps in its scratch, beside the state on its stack.
struct AttendScratch {
  int columns;    // D in whole chunks, with zeros behind D
  float* scores;  // [kTileQueries][kKeyBlock]
  float* q;       // [queries][columns]
  float* sums;    // [queries][columns]
  float* totals;  // [queries][part_floats(D)]
  float* parts;   // [queries][part_floats(D)]

  AttendScratch(float* memory, int head_dim) {
    columns = (head_dim + kChunk - 1) / kChunk * kChunk;
    scores = memory;
    q = scores + kTileQueries * kKeyBlock;
    sums = q + kQueries * columns;
    totals = sums + kQueries * columns;
    parts = totals + kQueries * part_floats(head_dim);
  }
};

// Element d of a head among its columns.
int column_of(int d, bool paired) {
  return paired ? d / kChunk * kChunk + d % 2 * kLanes16 + d % kChunk / 2 : d;
}
