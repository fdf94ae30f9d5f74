// Part of body.h: online softmax over blocks of keys at absolute positions. Queries go through in
// tiles of 3 rows; each row's sums run over its own keys in rising order, so its bits are the same
// in any tile.

// One query row's softmax so far: `sum` and `out` are relative to exp(peak).
struct SoftmaxRow {
  int first = 0;  // keys that the row sees
  int last = 0;   // one past their end
  float peak = -std::numeric_limits<float>::infinity();
  float sum = 0;
  int begin = 0;  // the same keys within the present block
  int end = 0;
};

// Scores of `keys` keys for R rows, into scores[r * kKeyBlock + j].
template <int R>
void block_scores(const AttentionRows& a, const float* q, int first, int keys, float* scores) {
  const float* k = a.k + first * a.kv_stride;
  int j = 0;
  for (; j + 4 <= keys; j += 4) {
    float out[R][4];
    tile<R, 4>(q, a.q_stride, k + j * a.kv_stride, a.kv_stride, a.head_dim, out);
    for (int r = 0; r < R; ++r) std::memcpy(scores + r * kKeyBlock + j, out[r], sizeof(out[r]));
  }
  for (; j < keys; ++j) {
    float out[R][1];
    tile<R, 1>(q, a.q_stride, k + j * a.kv_stride, a.kv_stride, a.head_dim, out);
    for (int r = 0; r < R; ++r) scores[r * kKeyBlock + j] = out[r][0];
  }
}

// Turns one row's scores of a block into weights and rescales what it has summed so far.
void weigh_block(const AttentionRows& a, float* scores, SoftmaxRow& row, float* out) {
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
  for_each_vec(static_cast<size_t>(a.head_dim), [&](size_t d, auto load, auto store) {
    store(load(out + d) * Vec::set1(shrink), out + d);
  });
}

// out[r] += sum of weights[r][j] * v[j] over j in [begin, end), for R rows and C vectors at once.
template <int R, int C, class Load, class Store>
void add_values_strip(const AttentionRows& a, const float* v, const float* weights, int begin,
                      int end, float* out, Load load, Store store) {
  Vec sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = load(out + r * a.head_dim + c * kLanes);
  }
  for (int j = begin; j < end; ++j) {
    Vec values[C];
    for (int c = 0; c < C; ++c) values[c] = load(v + j * a.kv_stride + c * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec weight = Vec::set1(weights[r * kKeyBlock + j]);
      for (int c = 0; c < C; ++c) sums[r][c] = Vec::fma(weight, values[c], sums[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(sums[r][c], out + r * a.head_dim + c * kLanes);
  }
}

template <int R>
void add_values(const AttentionRows& a, const float* v, const float* weights, int begin, int end,
                float* out) {
  if (begin >= end) return;
  const auto load = [](const float* p) { return Vec::load(p); };
  const auto store = [](Vec value, float* p) { value.store(p); };
  int d = 0;
  for (; d + 4 * kLanes <= a.head_dim; d += 4 * kLanes) {
    add_values_strip<R, 4>(a, v + d, weights, begin, end, out + d, load, store);
  }
  for (; d + kLanes <= a.head_dim; d += kLanes) {
    add_values_strip<R, 1>(a, v + d, weights, begin, end, out + d, load, store);
  }
  const int rest = a.head_dim - d;
  if (rest == 0) return;
  add_values_strip<R, 1>(
      a, v + d, weights, begin, end, out + d,
      [=](const float* p) { return Vec::load_partial(p, rest); },
      [=](Vec value, float* p) { value.store_partial(p, rest); });
}

// The keys that all rows see go through together, the others row by row; each row in rising order.
template <int R>
void add_block(const AttentionRows& a, int block, float* scores, SoftmaxRow* rows, float* sums) {
  const float* v = a.v + block * a.kv_stride;
  int begin = 0;
  int end = kKeyBlock;
  for (int r = 0; r < R; ++r) {
    weigh_block(a, scores + r * kKeyBlock, rows[r], sums + r * a.head_dim);
    begin = std::max(begin, rows[r].begin);
    end = std::min(end, rows[r].end);
  }
  end = std::max(begin, end);
  const auto alone = [&](int r, int from, int to) {
    add_values<1>(a, v, scores + r * kKeyBlock, from, to, sums + r * a.head_dim);
  };
  for (int r = 0; r < R; ++r) alone(r, rows[r].begin, std::min(begin, rows[r].end));
  add_values<R>(a, v, scores, begin, end, sums);
  for (int r = 0; r < R; ++r) alone(r, std::max(end, rows[r].begin), rows[r].end);
}

template <int R>
void attend_tile(const AttentionRows& a, int row, float* scratch) {
  float* sums = scratch + R * kKeyBlock;
  SoftmaxRow rows[R];
  for (int r = 0; r < R; ++r) {
    rows[r].last = a.last_key + (row + r) * a.key_step;
    rows[r].first = a.window > 0 ? std::max(0, rows[r].last - a.window) : 0;
  }
  std::fill(sums, sums + R * a.head_dim, 0.0f);
  const float* q = a.q + row * a.q_stride;
  const int last = rows[R - 1].last;
  for (int block = rows[0].first / kKeyBlock * kKeyBlock; block < last; block += kKeyBlock) {
    const int keys = std::min(kKeyBlock, last - block);
    block_scores<R>(a, q, block, keys, scratch);
    for (int r = 0; r < R; ++r) {
      rows[r].begin = std::clamp(rows[r].first - block, 0, keys);
      rows[r].end = std::clamp(rows[r].last - block, rows[r].begin, keys);
    }
    add_block<R>(a, block, scratch, rows, sums);
  }
  for (int r = 0; r < R; ++r) {
    float* out = a.out + (row + r) * a.q_stride;
    for (int d = 0; d < a.head_dim; ++d) out[d] = sums[r * a.head_dim + d] / rows[r].sum;
  }
}

void attend(const AttentionRows& a, float* scratch) {
  int row = 0;
  for (; row + 3 <= a.rows; row += 3) attend_tile<3>(a, row, scratch);
  for (; row < a.rows; ++row) attend_tile<1>(a, row, scratch);
}
