// Part of body.h: online softmax over blocks of keys at absolute positions. A block's keys and
// values, unpacked to floats, meet all queries before the next block; queries go through in tiles
// of 3. Each query's sums run over its own keys in rising order, and its scores are summed as a
// product of rows is (8 lanes), so its bits are the same in any tile and on any registers.

// One query's softmax so far: `sum` and its sums over values are relative to exp(peak).
struct Softmax {
  int first = 0;  // keys that the query sees
  int last = 0;   // one past their end
  float peak = -std::numeric_limits<float>::infinity();
  float sum = 0;
  int begin = 0;  // the same keys within the present block
  int end = 0;
};

// What attend() keeps in its scratch, beside the state on its stack.
struct AttendScratch {
  int columns;    // D in whole Vec16s, with zeros behind D
  float* scores;  // [3][kKeyBlock]
  float* q;       // [queries][columns]
  float* sums;    // [queries][columns]
  float* k;       // [kKeyBlock / 2][columns / 8][2][8]: pairs of keys side by side
  float* v;       // [kKeyBlock][columns]

  AttendScratch(float* memory, int head_dim) {
    columns = (head_dim + kLanes16 - 1) / kLanes16 * kLanes16;
    scores = memory;
    q = scores + 3 * kKeyBlock;
    sums = q + kQueries * columns;
    k = sums + kQueries * columns;
    v = k + kKeyBlock * columns;
  }
};

// Keys [first, first + keys) and their values as floats. T is float, or uint16_t for bfloat16.
template <class T>
void unpack_block(const AttentionRows& a, const AttendScratch& s, int first, int keys) {
  for (int j = 0; j < keys; j += 2) {
    const T* one = static_cast<const T*>(a.k) + (first + j) * a.kv_stride;
    const T* two = j + 1 < keys ? one + a.kv_stride : one;  // nobody looks at its scores
    float* to = s.k + j * s.columns;
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
    int d = 0;
    for (; d + kLanes16 <= a.head_dim; d += kLanes16) Vec16::load(value + d).store(to + d);
    if (d == a.head_dim) continue;
    T tail[kLanes16] = {};
    std::copy(value + d, value + a.head_dim, tail);
    Vec16::load(tail).store(to + d);
  }
}

// Scores of the block's keys for R queries, into scores[r * kKeyBlock + j].
template <int R>
void block_scores(const AttentionRows& a, const AttendScratch& s, const float* q, int keys) {
  constexpr int kKeys = 2 * Vec16::kPairs;
  for (int j = 0; j < keys; j += kKeys) {
    const float* k = s.k + j * s.columns;
    Vec16 sums[R][Vec16::kPairs];
    for (auto& row : sums) std::fill(row, row + Vec16::kPairs, Vec16::zero());
    for (int d = 0; d < a.head_dim; d += kLanes) {
      Vec16 rows[R];
      for (int r = 0; r < R; ++r) rows[r] = Vec16::twice(q + r * s.columns + d);
      for (int p = 0; p < Vec16::kPairs; ++p) {
        const Vec16 pair = Vec16::load(k + 2 * (p * s.columns + d));
        for (int r = 0; r < R; ++r) sums[r][p] = Vec16::fma(rows[r], pair, sums[r][p]);
      }
    }
    for (int r = 0; r < R; ++r) Vec16::sums(sums[r], s.scores + r * kKeyBlock + j);
  }
}

// Turns one row's scores of a block into weights and rescales what it has summed so far.
void weigh_block(const AttentionRows& a, float* scores, Softmax& row, int columns, float* out) {
  if (row.begin == row.end) return;
  const auto count = static_cast<size_t>(row.end - row.begin);
  float* s = scores + row.begin;
  const Vec lowest = Vec::set1(-std::numeric_limits<float>::infinity());
  Vec peaks = lowest;
  for_each_vec(count, [&](size_t j, auto load, auto store) {
    store(load(s + j) * Vec::set1(a.scale), s + j);
  });
  if (a.softcap > 0) {
    for (size_t j = 0; j < count; ++j) s[j] = a.softcap * std::tanh(s[j] / a.softcap);
  }
  size_t j = 0;
  for (; j + kLanes <= count; j += kLanes) peaks = Vec::max(peaks, Vec::load(s + j));
  float peak = std::max(row.peak, peaks.lane_max());
  for (; j < count; ++j) peak = std::max(peak, s[j]);

  float shrink = 0;
  if (row.sum > 0) {
    float lanes[kLanes];
    exp_vec(Vec::set1(row.peak - peak)).store(lanes);
    shrink = lanes[0];
  }
  Vec sum = Vec::zero();
  for (j = 0; j + kLanes <= count; j += kLanes) {
    const Vec weight = exp_vec(Vec::load(s + j) - Vec::set1(peak));
    weight.store(s + j);
    sum = sum + weight;
  }
  float rest = 0;
  if (j < count) {
    const int tail = static_cast<int>(count - j);
    exp_vec(Vec::load_partial(s + j, tail) - Vec::set1(peak)).store_partial(s + j, tail);
    for (; j < count; ++j) rest += s[j];
  }
  row.sum = row.sum * shrink + (sum.sum() + rest);
  row.peak = peak;
  for (int d = 0; d < columns; d += kLanes16) {
    (Vec16::load(out + d) * Vec16::set1(shrink)).store(out + d);
  }
}

// out[r] += sum of weights[r][j] * v[j] over j in [begin, end), for R queries and C vectors at
// once.
template <int R, int C>
void add_values_strip(const AttendScratch& s, const float* v, const float* weights, int begin,
                      int end, float* out) {
  Vec16 sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = Vec16::load(out + r * s.columns + c * kLanes16);
  }
  for (int j = begin; j < end; ++j) {
    Vec16 values[C];
    for (int c = 0; c < C; ++c) values[c] = Vec16::load(v + j * s.columns + c * kLanes16);
    for (int r = 0; r < R; ++r) {
      const Vec16 weight = Vec16::set1(weights[r * kKeyBlock + j]);
      for (int c = 0; c < C; ++c) sums[r][c] = Vec16::fma(weight, values[c], sums[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c].store(out + r * s.columns + c * kLanes16);
  }
}

template <int R>
void add_values(const AttendScratch& s, const float* weights, int begin, int end, float* out) {
  if (begin >= end) return;
  int d = 0;
  for (; d + Vec16::kStrip * kLanes16 <= s.columns; d += Vec16::kStrip * kLanes16) {
    add_values_strip<R, Vec16::kStrip>(s, s.v + d, weights, begin, end, out + d);
  }
  for (; d < s.columns; d += kLanes16) {
    add_values_strip<R, 1>(s, s.v + d, weights, begin, end, out + d);
  }
}

// The keys that all queries see go through together, the others one by one; each in rising order.
template <int R>
void add_block(const AttentionRows& a, const AttendScratch& s, Softmax* rows, float* sums) {
  int begin = 0;
  int end = kKeyBlock;
  for (int r = 0; r < R; ++r) {
    weigh_block(a, s.scores + r * kKeyBlock, rows[r], s.columns, sums + r * s.columns);
    begin = std::max(begin, rows[r].begin);
    end = std::min(end, rows[r].end);
  }
  end = std::max(begin, end);
  const auto alone = [&](int r, int from, int to) {
    add_values<1>(s, s.scores + r * kKeyBlock, from, to, sums + r * s.columns);
  };
  for (int r = 0; r < R; ++r) alone(r, rows[r].begin, std::min(begin, rows[r].end));
  add_values<R>(s, s.scores, begin, end, sums);
  for (int r = 0; r < R; ++r) alone(r, std::max(end, rows[r].begin), rows[r].end);
}

// R queries, from `query` on, meet the unpacked block of keys [first, first + keys).
template <int R>
void attend_tile(const AttentionRows& a, const AttendScratch& s, int query, int first, int keys,
                 Softmax* rows) {
  bool seen = false;
  for (int r = 0; r < R; ++r) {
    rows[r].begin = std::clamp(rows[r].first - first, 0, keys);
    rows[r].end = std::clamp(rows[r].last - first, rows[r].begin, keys);
    seen = seen || rows[r].begin < rows[r].end;
  }
  if (!seen) return;
  block_scores<R>(a, s, s.q + query * s.columns, keys);
  add_block<R>(a, s, rows, s.sums + query * s.columns);
}

void attend(const AttentionRows& a, float* memory) {
  const AttendScratch s(memory, a.head_dim);
  const int queries = a.rows * a.group;
  const auto at = [&](int t) { return t / a.group * a.q_stride + t % a.group * a.head_dim; };
  Softmax rows[kQueries];
  // Zeros behind the end of a head add nothing to a sum.
  std::fill(s.q, s.k, 0.0f);
  for (int t = 0; t < queries; ++t) {
    rows[t].last = a.last_key + t / a.group * a.key_step;
    rows[t].first = a.window > 0 ? std::max(0, rows[t].last - a.window) : 0;
    std::copy(a.q + at(t), a.q + at(t) + a.head_dim, s.q + t * s.columns);
  }
  const int last = rows[queries - 1].last;
  for (int first = rows[0].first / kKeyBlock * kKeyBlock; first < last; first += kKeyBlock) {
    const int keys = std::min(kKeyBlock, last - first);
    a.kv_dtype == Float::kF32 ? unpack_block<float>(a, s, first, keys)
                              : unpack_block<uint16_t>(a, s, first, keys);
    int t = 0;
    for (; t + 3 <= queries; t += 3) attend_tile<3>(a, s, t, first, keys, rows + t);
    if (queries - t == 2) attend_tile<2>(a, s, t, first, keys, rows + t);
    if (queries - t == 1) attend_tile<1>(a, s, t, first, keys, rows + t);
  }
  for (int t = 0; t < queries; ++t) {
    const float* sums = s.sums + t * s.columns;
    for (int d = 0; d < a.head_dim; ++d) a.out[at(t) + d] = sums[d] / rows[t].sum;
  }
}
