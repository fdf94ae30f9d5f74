// Part of body.h: what exact attention works on, and how keys and values get there.

// Keys [begin, end), of all or of a block.
struct Keys {
  int begin = 0;
  int end = 0;

  // Those of the `keys` keys from `first` on, counted from there.
  Keys within(int first, int keys) const {
    const int from = std::clamp(begin - first, 0, keys);
    return {from, std::clamp(end - first, from, keys)};
  }
};

// What query t sees; queries are the heads of row 0, those of row 1, ...
Keys keys_of(const AttentionRows& a, int t) {
  const int end = a.last_key + t / a.group * a.key_step;
  return {a.window > 0 ? std::max(0, end - a.window) : 0, end};
}

// Where it stands in `q` and `out`.
int64_t query_at(const AttentionRows& a, int t) {
  return t / a.group * a.q_stride + t % a.group * a.head_dim;
}

// What attend() keeps in its scratch, beside the state on its stack.
struct AttendScratch {
  int columns;    // D in whole Vec16s, with zeros behind D
  float* scores;  // [3][kKeyBlock]
  float* q;       // [queries][columns]
  float* sums;    // [queries][columns]
  float* k;       // [kKeyBlock / 2][columns / 8][2][8]: pairs of keys side by side
  float* v;       // [kKeyBlock][columns]
  float* totals;  // [queries][part_floats(D)]

  AttendScratch(float* memory, int head_dim) {
    columns = (head_dim + kLanes16 - 1) / kLanes16 * kLanes16;
    scores = memory;
    q = scores + 3 * kKeyBlock;
    sums = q + kQueries * columns;
    k = sums + kQueries * columns;
    v = k + kKeyBlock * columns;
    totals = v + kKeyBlock * columns;
  }
};

// Asks for the row that will be read kAheadBytes of rows later: on its own, the processor's
// prefetcher stops at the end of every page and misses what lies between the rows of one head.
template <class T>
void fetch_ahead(const T* row, int64_t stride, int head_dim) {
  constexpr int kAheadBytes = 4096;
  const int bytes = head_dim * int{sizeof(T)};
  const char* later = reinterpret_cast<const char*>(row + kAheadBytes / bytes * stride);
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(later + i);
}

// Keys [first, first + keys) and their values as floats. T is float, or uint16_t for bfloat16.
template <class T>
void unpack_block(const AttentionRows& a, const AttendScratch& s, int first, int keys) {
  for (int j = 0; j < keys; j += 2) {
    const T* one = static_cast<const T*>(a.k) + (first + j) * a.kv_stride;
    const T* two = j + 1 < keys ? one + a.kv_stride : one;  // nobody looks at its scores
    float* to = s.k + j * s.columns;
    fetch_ahead(one, a.kv_stride, a.head_dim);
    fetch_ahead(two, a.kv_stride, a.head_dim);
    int d = 0;
    for (; d + kLanes <= a.head_dim; d += kLanes) Vec16::join(one + d, two + d).store(to + 2 * d);
    if (d == a.head_dim) continue;
    T tails[2][kLanes] = {};
    std::copy(one + d, one + a.head_dim, tails[0]);
    std::copy(two + d, two + a.head_dim, tails[1]);
    Vec16::join(tails[0], tails[1]).store(to + 2 * d);
  }
  for (int j = 0; j < keys; ++j) {
    const T* value = static_cast<const T*>(a.v) + (first + j) * a.kv_stride;
    float* to = s.v + j * s.columns;
    fetch_ahead(value, a.kv_stride, a.head_dim);
    int d = 0;
    for (; d + kLanes16 <= a.head_dim; d += kLanes16) Vec16::load(value + d).store(to + d);
    if (d == a.head_dim) continue;
    T tail[kLanes16] = {};
    std::copy(value + d, value + a.head_dim, tail);
    Vec16::load(tail).store(to + d);
  }
}
