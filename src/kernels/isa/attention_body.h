// Part of body.h: exact attention, by online softmax over blocks of keys at absolute positions. A
// block meets all queries before the next block; queries go through in tiles whose sums fill the
// registers. Each query's sums run over its own keys in rising order, each score is 16 sums that
// are added in one order, so a query's bits are the same in any tile and on any registers. Sums
// begin anew every kSplit keys and are merged in rising order, so that threads can share the
// history of one row. Scores and peaks are in units of ln 2: weights are powers of two.

constexpr float kLog2E = 1.44269504f;

// One query's softmax so far: `sum` and its sums over values are relative to 2^peak.
struct Softmax {
  KeyRange seen;
  KeyRange block;  // of them, within the present block
  const float* mask;
  float peak = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

// 2^x by 2^n * 2^r with |r| <= 1/2 and a minimax polynomial of degree 6 (relative error 2e-7 with
// its rounding); exactly 0 below -126.5, NaN stays. For x <= 126.
template <class V>
V exp2_vec(V x) {
  x = V::max(V::set1(-127), x);
  const V n = V::round(x);
  const V r = x - n;
  V p = V::set1(1.5353362e-4f);
  p = V::fma(p, r, V::set1(1.3398875e-3f));
  p = V::fma(p, r, V::set1(9.618437e-3f));
  p = V::fma(p, r, V::set1(5.5503324e-2f));
  p = V::fma(p, r, V::set1(2.4022648e-1f));
  p = V::fma(p, r, V::set1(6.931472e-1f));
  return V::fma(p, r, V::set1(1)) * V::pow2(n);
}

float exp2_of(float x) {
  float lanes[kLanes];
  exp2_vec(Vec::set1(x)).store(lanes);
  return lanes[0];
}

// Scores of four keys for R queries, as Vec16::finish takes them.
template <class Row, int R>
void four_scores(const AttentionRows& a, const float* q, int columns, const std::byte* const* keys,
                 Vec16::Four* folded) {
  const Row rows[4] = {{a, keys[0]}, {a, keys[1]}, {a, keys[2]}, {a, keys[3]}};
  Vec16 sums[R][4];
  unrolled<4 * R>([&](auto i) { sums[i / 4][i % 4] = Vec16::zero(); });
  const auto add = [&](int at, auto half) {
    unrolled<2>([&](auto h) {
      Vec16 elements[4];
      unrolled<4>([&](auto i) { elements[i] = half(rows[i], h); });
      unrolled<R>([&](auto r) {
        const Vec16 query = Vec16::load(q + r * columns + at + h * kLanes16);
        unrolled<4>([&](auto i) { sums[r][i] = Vec16::fma(query, elements[i], sums[r][i]); });
      });
    });
  };
  int at = 0;
  for (; at + kChunk <= a.head_dim; at += kChunk) {
    add(at, [&](const Row& row, int h) { return row.half(at, h); });
  }
  if (at < a.head_dim) {
    add(at, [&](const Row& row, int h) { return row.tail(at, h, a.head_dim - at); });
  }
  unrolled<R>([&](auto r) { folded[r] = Vec16::fold(sums[r]); });
}

// Scores of the block's keys for R queries, into scores[r * kKeyBlock + j].
template <class Row, int R>
void block_scores(const AttentionRows& a, const AttendScratch& s, const float* q, const Block& b) {
  const int bytes = row_bytes(a);
  for (int j = 0; j < b.keys; j += 16) {
    Vec16::Four folded[4][R];
    for (int four = 0; four < 4; ++four) {
      const std::byte* keys[4];
      for (int i = 0; i < 4; ++i) {
        const int key = j + 4 * four + i;
        // Nobody looks at the scores of keys past the end.
        keys[i] = b.k + std::min(key, b.keys - 1) * a.k_stride;
        fetch(b.next_k, key * a.k_stride, bytes);
      }
      four_scores<Row, R>(a, q, s.columns, keys, folded[four]);
    }
    for (int r = 0; r < R; ++r) {
      const Vec16::Four all[4] = {folded[0][r], folded[1][r], folded[2][r], folded[3][r]};
      Vec16::finish(all, s.scores + r * kKeyBlock + j);
    }
  }
}

// cap * tanh(x / cap), tanh(y) = 1 - 2 / (1 + e^2y), for cap in units of ln 2 like x.
void cap_scores(float* s, int begin, int end, float cap) {
  const Vec16 twice = Vec16::set1(2 / cap * kLog2E);
  const Vec16 one = Vec16::set1(1);
  for (int j = begin; j < end; j += kLanes16) {
    const Vec16 highest = Vec16::set1(-126);
    const Vec16 y = Vec16::load(s + j) * twice;
    const Vec16 e = exp2_vec(Vec16::zero() - Vec16::max(highest, Vec16::zero() - y));
    (Vec16::set1(cap) * (one - Vec16::set1(2) / (one + e))).store(s + j);
  }
}

// Turns one row's scores of a block into weights and rescales what it has summed so far.
void weigh_block(const AttentionRows& a, float* s, Softmax& row, int first, int columns,
                 float* out) {
  const auto [begin, end] = row.block;
  if (begin == end) return;
  constexpr float kUnseen = -std::numeric_limits<float>::infinity();
  const int from = begin / kLanes16 * kLanes16;
  const int to = (end + kLanes16 - 1) / kLanes16 * kLanes16;
  if (a.softcap > 0) cap_scores(s, from, to, a.softcap * kLog2E);
  if (row.mask) {
    for (int j = begin; j < end; ++j) s[j] += row.mask[first + j] * kLog2E;
  }
  std::fill(s + from, s + begin, kUnseen);
  std::fill(s + end, s + to, kUnseen);
  Vec16 peaks = Vec16::set1(row.peak);
  for (int j = from; j < to; j += kLanes16) peaks = Vec16::max(peaks, Vec16::load(s + j));
  const float peak = peaks.lane_max();
  const float base = peak == kUnseen ? 0 : peak;  // a mask may hide all

  const float shrink = row.sum > 0 ? exp2_of(row.peak - base) : 0;
  Vec16 sum = Vec16::zero();
  for (int j = from; j < to; j += kLanes16) {
    const Vec16 weight = exp2_vec(Vec16::load(s + j) - Vec16::set1(base));
    weight.store(s + j);
    sum = sum + weight;
  }
  row.sum = row.sum * shrink + sum.sum();
  row.peak = peak;
  if (shrink == 1) return;
  for (int d = 0; d < columns; d += kLanes16) {
    (Vec16::load(out + d) * Vec16::set1(shrink)).store(out + d);
  }
}

// out[r] += sum of weights[r][j] * v[j] over j in [begin, end), for R queries and C chunks at once.
template <class Row, int R, int C, class Half>
void add_chunks(const AttentionRows& a, const Block& b, const float* weights, int columns,
                KeyRange keys, bool fetches, float* out, Half half) {
  const int bytes = row_bytes(a);
  constexpr int kVectors = 2 * C;
  Vec16 sums[R][kVectors];
  const auto each = [](auto body) {
    unrolled<R * kVectors>([&](auto i) {
      body(std::integral_constant<int, i / kVectors>(),
           std::integral_constant<int, i % kVectors>());
    });
  };
  each([&](auto r, auto c) { sums[r][c] = Vec16::load(out + r * columns + c * kLanes16); });
  for (int j = keys.begin; j < keys.end; ++j) {
    const Row row(a, b.v + j * a.v_stride);
    if (fetches) fetch(b.next_v, j * a.v_stride, bytes);
    Vec16 shares[R];
    unrolled<R>([&](auto r) { shares[r] = Vec16::set1(weights[r * kKeyBlock + j]); });
    unrolled<kVectors>([&](auto c) {
      const Vec16 values = half(row, c);
      unrolled<R>([&](auto r) { sums[r][c] = Vec16::fma(shares[r], values, sums[r][c]); });
    });
  }
  each([&](auto r, auto c) { sums[r][c].store(out + r * columns + c * kLanes16); });
}

template <class Row, int R>
void add_values(const AttentionRows& a, const Block& b, const float* weights, int columns,
                KeyRange keys, float* out) {
  if (keys.begin >= keys.end) return;
  int at = 0;
  const auto whole = [&](const Row& row, int c) { return row.half(at + c / 2 * kChunk, c % 2); };
  for (; at + Vec16::kChunks * kChunk <= a.head_dim; at += Vec16::kChunks * kChunk) {
    add_chunks<Row, R, Vec16::kChunks>(a, b, weights, columns, keys, at == 0, out + at, whole);
  }
  for (; at + kChunk <= a.head_dim; at += kChunk) {
    add_chunks<Row, R, 1>(a, b, weights, columns, keys, at == 0, out + at, whole);
  }
  if (at == a.head_dim) return;
  add_chunks<Row, R, 1>(a, b, weights, columns, keys, at == 0, out + at,
                        [&](const Row& row, int c) { return row.tail(at, c, a.head_dim - at); });
}

// The keys that all queries see go through together, the others one by one; each in rising order.
template <class Row, int R>
void add_block(const AttentionRows& a, const AttendScratch& s, const Block& b, Softmax* rows,
               float* sums) {
  KeyRange shared{0, kKeyBlock};
  for (int r = 0; r < R; ++r) {
    weigh_block(a, s.scores + r * kKeyBlock, rows[r], b.first, s.columns, sums + r * s.columns);
    shared.begin = std::max(shared.begin, rows[r].block.begin);
    shared.end = std::min(shared.end, rows[r].block.end);
  }
  shared.end = std::max(shared.begin, shared.end);
  const auto alone = [&](int r, int from, int to) {
    add_values<Row, 1>(a, b, s.scores + r * kKeyBlock, s.columns, {from, to}, sums + r * s.columns);
  };
  for (int r = 0; r < R; ++r) {
    alone(r, rows[r].block.begin, std::min(shared.begin, rows[r].block.end));
  }
  add_values<Row, R>(a, b, s.scores, s.columns, shared, sums);
  for (int r = 0; r < R; ++r) {
    alone(r, std::max(shared.end, rows[r].block.begin), rows[r].block.end);
  }
}

// `count` queries, at most R, from `query` on, meet a block.
template <class Row, int R = Vec16::kRows>
void attend_tile(const AttentionRows& a, const AttendScratch& s, int query, int count,
                 const Block& b, Softmax* rows) {
  if constexpr (R > 1) {
    if (count < R) return attend_tile<Row, R - 1>(a, s, query, count, b, rows);
  }
  bool seen = false;
  for (int r = 0; r < R; ++r) {
    rows[r].block = within(rows[r].seen, b.first, b.keys);
    seen = seen || rows[r].block.begin < rows[r].block.end;
  }
  if (!seen) return;
  block_scores<Row, R>(a, s, s.q + query * s.columns, b);
  add_block<Row, R>(a, s, b, rows, s.sums + query * s.columns);
}

// The queries, scaled and laid out as rows of keys are, and which keys each sees.
void begin_rows(const AttentionRows& a, const AttendScratch& s, Softmax* rows) {
  const int queries = a.rows * a.group;
  // Zeros behind the end of a head add nothing to a sum.
  std::fill(s.q, s.q + queries * s.columns, 0.0f);
  const float scale = a.scale * kLog2E;
  const bool paired = a.kv_type == KvType::kBF16;
  for (int t = 0; t < queries; ++t) {
    rows[t].seen = keys_of(a, t);
    rows[t].mask = mask_at(a, t);
    const float* q = query_at(a, t);
    float* to = s.q + t * s.columns;
    for (int d = 0; d < a.head_dim; ++d) to[column_of(d, paired)] = q[d] * scale;
  }
}

template <class Row>
void attend_blocks(const AttentionRows& a, const AttendScratch& s, int first, int last,
                   Softmax* rows) {
  const int queries = a.rows * a.group;
  const int keys = keys_of_all(a).end;
  for (; first < last; first += kKeyBlock) {
    Block b{key_row(a, first),
            value_row(a, first),
            nullptr,
            nullptr,
            first,
            std::min(kKeyBlock, last - first)};
    if (first + kKeyBlock < keys) {
      b.next_k = key_row(a, first + kKeyBlock);
      b.next_v = value_row(a, first + kKeyBlock);
    }
    for (int t = 0; t < queries;) {
      const int tiles = (queries - t + Vec16::kRows - 1) / Vec16::kRows;
      const int count = (queries - t + tiles - 1) / tiles;
      attend_tile<Row>(a, s, t, count, b, rows + t);
      b.next_k = b.next_v = nullptr;
      t += count;
    }
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
  const KeyRange all = keys_of_all(a);
  const int last = std::min((split + 1) * kSplit, all.end);
  const int first = std::max(split * kSplit, all.begin / kKeyBlock * kKeyBlock);
  if (a.kv_type == KvType::kF32) attend_blocks<FloatRow>(a, s, first, last, rows);
  if (a.kv_type == KvType::kBF16) attend_blocks<HalfRow>(a, s, first, last, rows);
  if (a.kv_type == KvType::kBytes) attend_blocks<ByteRow>(a, s, first, last, rows);
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
  const float older = exp2_of(total[columns] - peak);
  const float newer = exp2_of(part[columns] - peak);
  for (int d = 0; d < columns; d += kLanes16) {
    const Vec16 shrunk = Vec16::load(total + d) * Vec16::set1(older);
    (shrunk + Vec16::load(part + d) * Vec16::set1(newer)).store(total + d);
  }
  total[columns + 1] = total[columns + 1] * older + part[columns + 1] * newer;
  total[columns] = peak;
}

// What a sum over values is multiplied with, relative to 2^peak as `sum` is; a sink takes its share
// of the weights and gives nothing.
float share_of(const AttentionRows& a, int t, float peak, float sum) {
  if (!a.sinks) return 1 / sum;
  const float sink = a.sinks[t % a.group] * kLog2E;
  const float higher = std::max(sink, peak);
  const float shrink = exp2_of(peak - higher);
  return shrink / (sum * shrink + exp2_of(sink - higher));
}

void write_row(const AttentionRows& a, int t, const float* total, int columns) {
  float* out = output_at(a, t);
  const float sum = total[columns + 1];
  const float share = sum == 0 ? 0 : share_of(a, t, total[columns], sum);
  const bool paired = a.kv_type == KvType::kBF16;
  for (int d = 0; d < a.head_dim; ++d) out[d] = total[column_of(d, paired)] * share;
}

void attend(const AttentionRows& a, float* memory) {
  const AttendScratch s(memory, a.head_dim);
  const int queries = a.rows * a.group;
  const int size = static_cast<int>(part_floats(a.head_dim));
  Softmax rows[kQueries];
  begin_rows(a, s, rows);
  std::fill(s.totals, s.totals + queries * size, 0.0f);
  const KeyRange all = keys_of_all(a);
  for (int split = all.begin / kSplit; split * kSplit < all.end; ++split) {
    attend_keys(a, s, split, rows, s.parts);
    for (int t = 0; t < queries; ++t)
      merge_part(s.parts + t * size, s.columns, s.totals + t * size);
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
