// Part of body.h: online softmax over blocks of keys at absolute positions. A block's keys and
// values, unpacked to floats, meet all queries before the next block; queries go through in tiles
// of 3. Each query's sums run over its own keys in rising order, and its scores are summed as a
// product of rows is (8 lanes), so its bits are the same in any tile and on any registers. Sums
// begin anew every kSplit keys and are merged in rising order, so that threads can share the
// history of one row.

// One query's softmax so far: `sum` and its sums over values are relative to exp(peak).
struct Softmax {
  Keys seen;
  Keys block;  // of them, within the present block
  float peak = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

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
  if (row.block.begin == row.block.end) return;
  const auto count = static_cast<size_t>(row.block.end - row.block.begin);
  float* s = scores + row.block.begin;
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
    begin = std::max(begin, rows[r].block.begin);
    end = std::min(end, rows[r].block.end);
  }
  end = std::max(begin, end);
  const auto alone = [&](int r, int from, int to) {
    add_values<1>(s, s.scores + r * kKeyBlock, from, to, sums + r * s.columns);
  };
  for (int r = 0; r < R; ++r) alone(r, rows[r].block.begin, std::min(begin, rows[r].block.end));
  add_values<R>(s, s.scores, begin, end, sums);
  for (int r = 0; r < R; ++r) alone(r, std::max(end, rows[r].block.begin), rows[r].block.end);
}

// R queries, from `query` on, meet the unpacked block of keys [first, first + keys).
template <int R>
void attend_tile(const AttentionRows& a, const AttendScratch& s, int query, int first, int keys,
                 Softmax* rows) {
  bool seen = false;
  for (int r = 0; r < R; ++r) {
    rows[r].block = rows[r].seen.within(first, keys);
    seen = seen || rows[r].block.begin < rows[r].block.end;
  }
  if (!seen) return;
  block_scores<R>(a, s, s.q + query * s.columns, keys);
  add_block<R>(a, s, rows, s.sums + query * s.columns);
}

// The queries, and which keys each sees.
void begin_rows(const AttentionRows& a, const AttendScratch& s, Softmax* rows) {
  const int queries = a.rows * a.group;
  // Zeros behind the end of a head add nothing to a sum.
  std::fill(s.q, s.q + queries * s.columns, 0.0f);
  for (int t = 0; t < queries; ++t) {
    rows[t].seen = keys_of(a, t);
    std::copy(a.q + query_at(a, t), a.q + query_at(a, t) + a.head_dim, s.q + t * s.columns);
  }
}

// One split's sums over values, then its peak and its sum of weights (0 for a query that sees no
// key of it), for each query at parts + t * part_floats(D).
void attend_keys(const AttentionRows& a, const AttendScratch& s, int split, Softmax* rows,
                 float* parts) {
  const int queries = a.rows * a.group;
  std::fill(s.sums, s.sums + queries * s.columns, 0.0f);
  for (int t = 0; t < queries; ++t) {
    rows[t].peak = -std::numeric_limits<float>::infinity();
    rows[t].sum = 0;
  }
  const int last = std::min((split + 1) * kSplit, rows[queries - 1].seen.end);
  int first = std::max(split * kSplit, rows[0].seen.begin / kKeyBlock * kKeyBlock);
  for (; first < last; first += kKeyBlock) {
    const int keys = std::min(kKeyBlock, last - first);
    a.kv_dtype == Float::kF32 ? unpack_block<float>(a, s, first, keys)
                              : unpack_block<uint16_t>(a, s, first, keys);
    int t = 0;
    for (; t + 3 <= queries; t += 3) attend_tile<3>(a, s, t, first, keys, rows + t);
    if (queries - t == 2) attend_tile<2>(a, s, t, first, keys, rows + t);
    if (queries - t == 1) attend_tile<1>(a, s, t, first, keys, rows + t);
  }
  for (int t = 0; t < queries; ++t) {
    float* part = parts + t * part_floats(a.head_dim);
    std::copy(s.sums + t * s.columns, s.sums + (t + 1) * s.columns, part);
    part[s.columns] = rows[t].peak;
    part[s.columns + 1] = rows[t].sum;
  }
}

void merge_part(const float* part, int columns, float* total) {
  if (part[columns + 1] == 0) return;
  if (total[columns + 1] == 0) {
    std::copy(part, part + columns + 2, total);
    return;
  }
  const float peak = std::max(total[columns], part[columns]);
  float older[kLanes];
  float newer[kLanes];
  exp_vec(Vec::set1(total[columns] - peak)).store(older);
  exp_vec(Vec::set1(part[columns] - peak)).store(newer);
  for (int d = 0; d < columns; d += kLanes16) {
    const Vec16 shrunk = Vec16::load(total + d) * Vec16::set1(older[0]);
    (shrunk + Vec16::load(part + d) * Vec16::set1(newer[0])).store(total + d);
  }
  total[columns + 1] = total[columns + 1] * older[0] + part[columns + 1] * newer[0];
  total[columns] = peak;
}

void write_row(const AttentionRows& a, int t, const float* total, int columns) {
  float* out = a.out + query_at(a, t);
  for (int d = 0; d < a.head_dim; ++d) out[d] = total[d] / total[columns + 1];
}

void attend(const AttentionRows& a, float* memory) {
  const AttendScratch s(memory, a.head_dim);
  const int queries = a.rows * a.group;
  const int size = static_cast<int>(part_floats(a.head_dim));
  Softmax rows[kQueries];
  begin_rows(a, s, rows);
  float* parts = s.totals + kQueries * size;
  std::fill(s.totals, parts, 0.0f);
  const int last = rows[queries - 1].seen.end;
  for (int split = rows[0].seen.begin / kSplit; split * kSplit < last; ++split) {
    attend_keys(a, s, split, rows, parts);
    for (int t = 0; t < queries; ++t) merge_part(parts + t * size, s.columns, s.totals + t * size);
  }
  for (int t = 0; t < queries; ++t) write_row(a, t, s.totals + t * size, s.columns);
}

void attend_split(const AttentionRows& a, int split, float* memory, float* parts) {
  const AttendScratch s(memory, a.head_dim);
  Softmax rows[kQueries];
  begin_rows(a, s, rows);
  attend_keys(a, s, split, rows, parts);
}

void merge_splits(const AttentionRows& a, const float* parts, size_t stride, int splits,
                  float* memory) {
  const AttendScratch s(memory, a.head_dim);
  const size_t size = part_floats(a.head_dim);
  for (int t = 0; t < a.rows * a.group; ++t) {
    std::fill(s.totals, s.totals + size, 0.0f);
    for (int i = 0; i < splits; ++i) merge_part(parts + i * stride + t * size, s.columns, s.totals);
    write_row(a, t, s.totals, s.columns);
  }
}
