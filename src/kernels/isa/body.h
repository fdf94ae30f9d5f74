// The generic text of the inner loops, included by one file per instruction set after it has
// defined `Vec`, a type of 8 float lanes with
//   zero, set1, load, load_partial(p, n), load_bf16, load_f16, load_bytes (8 unsigned bytes),
//   load_nibbles (8 unsigned 4-bit values), store, store_partial(p, n), fma(a, b, c) = a * b + c
//   rounded once, + - * /, max, round (to even), pow2 (2 to a whole number), sum, lane_max.
// Included inside an anonymous namespace, so that every variant has code of its own.

float float_at(const void* data, Float dtype, size_t index) {
  const auto* bytes = static_cast<const char*>(data);
  if (dtype == Float::kF32) {
    float value;
    std::memcpy(&value, bytes + index * 4, 4);
    return value;
  }
  float lanes[kLanes];
  uint16_t half[kLanes] = {};
  std::memcpy(half, bytes + index * 2, 2);
  (dtype == Float::kBF16 ? Vec::load_bf16(half) : Vec::load_f16(half)).store(lanes);
  return lanes[0];
}

// 8 consecutive values of `bits` each: a little-endian bit stream, so they fill `bits` bytes.
Vec load_packed(const uint8_t* bytes, int bits) {
  if (bits == 4) return Vec::load_nibbles(bytes);
  if (bits == 8) return Vec::load_bytes(bytes);
  uint64_t stream = 0;
  std::memcpy(&stream, bytes, static_cast<size_t>(bits));
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  uint8_t values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = static_cast<uint8_t>(stream >> (i * bits) & mask);
  return Vec::load_bytes(values);
}

void expand_quantized(const WeightRows& w, int row, float* out) {
  const int groups = w.k / w.group_size;
  const auto* bytes =
      static_cast<const uint8_t*>(w.data) + static_cast<size_t>(row) * w.k * w.bits / 8;
  for (int g = 0; g < groups; ++g) {
    const size_t index = static_cast<size_t>(row) * groups + g;
    const Vec scale = Vec::set1(float_at(w.scales, w.dtype, index));
    const Vec bias = Vec::set1(float_at(w.biases, w.dtype, index));
    for (int i = 0; i < w.group_size; i += kLanes) {
      Vec::fma(load_packed(bytes, w.bits), scale, bias).store(out);
      bytes += w.bits;
      out += kLanes;
    }
  }
}

void expand_half(const uint16_t* row, bool bf16, int k, float* out) {
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    (bf16 ? Vec::load_bf16(row + i) : Vec::load_f16(row + i)).store(out + i);
  }
  if (i == k) return;
  uint16_t tail[kLanes] = {};
  std::memcpy(tail, row + i, static_cast<size_t>(k - i) * 2);
  (bf16 ? Vec::load_bf16(tail) : Vec::load_f16(tail)).store_partial(out + i, k - i);
}

void expand_row(const WeightRows& w, int row, float* out) {
  if (w.bits != 0) return expand_quantized(w, row, out);
  const size_t at = static_cast<size_t>(row) * w.k;
  if (w.dtype == Float::kF32) {
    std::memcpy(out, static_cast<const char*>(w.data) + at * 4, static_cast<size_t>(w.k) * 4);
    return;
  }
  const auto* half = reinterpret_cast<const uint16_t*>(static_cast<const char*>(w.data) + at * 2);
  expand_half(half, w.dtype == Float::kBF16, w.k, out);
}

// out[m][n] = dot(x row m, w row n): one chain of fused multiply-adds over K for each lane,
// whatever the tile, so a pair of rows gives the same bits in every tile.
template <int M, int N>
void tile(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int k,
          float out[M][N]) {
  Vec sums[M][N];
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) sums[m][n] = Vec::zero();
  }
  const auto step = [&](int i, auto load) {
    Vec rows[M];
    for (int m = 0; m < M; ++m) rows[m] = load(x + m * x_stride + i);
    for (int n = 0; n < N; ++n) {
      const Vec column = load(w + n * w_stride + i);
      for (int m = 0; m < M; ++m) sums[m][n] = Vec::fma(rows[m], column, sums[m][n]);
    }
  };
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) step(i, [](const float* p) { return Vec::load(p); });
  if (i < k) step(i, [&](const float* p) { return Vec::load_partial(p, k - i); });
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) out[m][n] = sums[m][n].sum();
  }
}

template <int M, int N>
void store_tile(const float* x, int k, const float* w, const float* bias, float* y,
                int64_t y_stride) {
  float sums[M][N];
  tile<M, N>(x, k, w, k, k, sums);
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) y[m * y_stride + n] = bias ? sums[m][n] + bias[n] : sums[m][n];
  }
}

template <int N>
void product_columns(const float* x, int m_count, int k, const float* w, const float* bias,
                     float* y, int64_t y_stride) {
  int m = 0;
  for (; m + 3 <= m_count; m += 3) {
    store_tile<3, N>(x + int64_t{m} * k, k, w, bias, y + m * y_stride, y_stride);
  }
  for (; m < m_count; ++m) {
    store_tile<1, N>(x + int64_t{m} * k, k, w, bias, y + m * y_stride, y_stride);
  }
}

void product(const float* x, int m_count, const WeightRows& w, int n_begin, int n_end,
             const float* bias, float* y, int64_t y_stride, float* scratch) {
  const bool in_place = w.bits == 0 && w.dtype == Float::kF32 &&
                        reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0;
  for (int n = n_begin; n < n_end;) {
    const int count = n + 4 <= n_end ? 4 : 1;
    const float* columns = scratch;
    if (in_place) {
      columns = static_cast<const float*>(w.data) + static_cast<size_t>(n) * w.k;
    } else {
      for (int i = 0; i < count; ++i) expand_row(w, n + i, scratch + static_cast<size_t>(i) * w.k);
    }
    const float* add = bias ? bias + n : nullptr;
    if (count == 4) {
      product_columns<4>(x, m_count, w.k, columns, add, y + n, y_stride);
    } else {
      product_columns<1>(x, m_count, w.k, columns, add, y + n, y_stride);
    }
    n += count;
  }
}

// Calls step(i, load, store) for the whole vectors of n floats and for the rest.
template <class Step>
void for_each_vec(size_t n, Step step) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    step(
        i, [](const float* p) { return Vec::load(p); }, [](Vec v, float* p) { v.store(p); });
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    step(
        i, [=](const float* p) { return Vec::load_partial(p, rest); },
        [=](Vec v, float* p) { v.store_partial(p, rest); });
  }
}

void rms_norm(const float* x, const float* weight, float eps, int n, float* y) {
  Vec squares = Vec::zero();
  for_each_vec(static_cast<size_t>(n), [&](size_t i, auto load, auto) {
    const Vec v = load(x + i);
    squares = Vec::fma(v, v, squares);
  });
  const Vec scale = Vec::set1(1.0f / std::sqrt(squares.sum() / static_cast<float>(n) + eps));
  for_each_vec(static_cast<size_t>(n), [&](size_t i, auto load, auto store) {
    store(load(x + i) * scale * load(weight + i), y + i);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n,
                float* y) {
  Vec total = Vec::zero();
  for_each_vec(static_cast<size_t>(n),
               [&](size_t i, auto load, auto) { total = total + load(x + i); });
  const float mean = total.sum() / static_cast<float>(n);
  // The mean is taken off before squaring; the lanes past the end are left out.
  Vec squares = Vec::zero();
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec v = Vec::load(x + i) - Vec::set1(mean);
    squares = Vec::fma(v, v, squares);
  }
  float variance = squares.sum();
  for (; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const Vec scale = Vec::set1(1.0f / std::sqrt(variance / static_cast<float>(n) + eps));
  for_each_vec(static_cast<size_t>(n), [&](size_t at, auto load, auto store) {
    store(Vec::fma((load(x + at) - Vec::set1(mean)) * scale, load(weight + at), load(bias + at)),
          y + at);
  });
}

// exp by 2^n * e^r with |r| <= ln2 / 2 and a polynomial of degree 6 (Cephes' coefficients, relative
// error 2e-7); inputs are clamped to where the result is a normal number.
Vec exp_vec(Vec x) {
  x = Vec::max(Vec::set1(0) - Vec::max(Vec::set1(0) - x, Vec::set1(-88.0f)), Vec::set1(-87.3f));
  const Vec n = Vec::round(x * Vec::set1(1.44269504f));
  Vec r = Vec::fma(n, Vec::set1(-0.693359375f), x);
  r = Vec::fma(n, Vec::set1(2.12194440e-4f), r);
  Vec p = Vec::set1(1.9875691500e-4f);
  p = Vec::fma(p, r, Vec::set1(1.3981999507e-3f));
  p = Vec::fma(p, r, Vec::set1(8.3334519073e-3f));
  p = Vec::fma(p, r, Vec::set1(4.1665795894e-2f));
  p = Vec::fma(p, r, Vec::set1(1.6666665459e-1f));
  p = Vec::fma(p, r, Vec::set1(5.0000001201e-1f));
  p = Vec::fma(p, r * r, r + Vec::set1(1));
  return p * Vec::pow2(n);
}

Vec sigmoid(Vec x) { return Vec::set1(1) / (Vec::set1(1) + exp_vec(Vec::set1(0) - x)); }

void swiglu(const float* gate, const float* up, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec g = load(gate + i);
    store(g * sigmoid(g) * load(up + i), y + i);
  });
}

void gelu_quick(const float* x, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec v = load(x + i);
    store(v * sigmoid(Vec::set1(1.702f) * v), y + i);
  });
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
void gelu_tanh(const float* x, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec v = load(x + i);
    const Vec u = Vec::fma(v * v * v, Vec::set1(0.044715f), v);
    store(v * sigmoid(Vec::set1(1.5957691216f) * u), y + i);
  });
}

// One query row's softmax so far: `sum` and `out` are relative to exp(peak).
struct SoftmaxRow {
  float peak = -std::numeric_limits<float>::infinity();
  float sum = 0;
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

// Turns one row's scores [begin, end) of a block into weights and adds the weighted values.
void add_block(const AttentionRows& a, int block, int begin, int end, float* scores,
               SoftmaxRow& state, float* out) {
  const auto count = static_cast<size_t>(end - begin);
  float* s = scores + begin;
  float peak = state.peak;
  for (size_t j = 0; j < count; ++j) {
    s[j] *= a.scale;
    if (a.softcap > 0) s[j] = a.softcap * std::tanh(s[j] / a.softcap);
    peak = std::max(peak, s[j]);
  }
  float shrink[kLanes];
  exp_vec(Vec::set1(state.peak - peak)).store(shrink);
  if (std::isinf(state.peak)) shrink[0] = 0;
  for_each_vec(count, [&](size_t j, auto load, auto store) {
    store(exp_vec(load(s + j) - Vec::set1(peak)), s + j);
  });
  float sum = 0;
  for (size_t j = 0; j < count; ++j) sum += s[j];
  state.sum = state.sum * shrink[0] + sum;
  state.peak = peak;
  const float* v = a.v + (block + begin) * a.kv_stride;
  for_each_vec(static_cast<size_t>(a.head_dim), [&](size_t d, auto load, auto store) {
    Vec total = load(out + d) * Vec::set1(shrink[0]);
    for (size_t j = 0; j < count; ++j) {
      total = Vec::fma(Vec::set1(s[j]), load(v + static_cast<int64_t>(j) * a.kv_stride + d), total);
    }
    store(total, out + d);
  });
}

template <int R>
void attend_tile(const AttentionRows& a, int row, float* scratch) {
  float* sums = scratch + R * kKeyBlock;
  SoftmaxRow state[R];
  int first[R];
  int last[R];
  for (int r = 0; r < R; ++r) {
    last[r] = a.last_key + (row + r) * a.key_step;
    first[r] = a.window > 0 ? std::max(a.first_key, last[r] - a.window) : a.first_key;
  }
  std::fill(sums, sums + R * a.head_dim, 0.0f);
  const float* q = a.q + row * a.q_stride;
  for (int block = first[0] / kKeyBlock * kKeyBlock; block < last[R - 1]; block += kKeyBlock) {
    const int keys = std::min(kKeyBlock, last[R - 1] - block);
    block_scores<R>(a, q, block, keys, scratch);
    for (int r = 0; r < R; ++r) {
      const int begin = std::max(first[r] - block, 0);
      const int end = std::min(last[r] - block, keys);
      if (begin >= end) continue;
      add_block(a, block, begin, end, scratch + r * kKeyBlock, state[r], sums + r * a.head_dim);
    }
  }
  for (int r = 0; r < R; ++r) {
    float* out = a.out + (row + r) * a.q_stride;
    for (int d = 0; d < a.head_dim; ++d) out[d] = sums[r * a.head_dim + d] / state[r].sum;
  }
}

void attend(const AttentionRows& a, float* scratch) {
  int row = 0;
  for (; row + 3 <= a.rows; row += 3) attend_tile<3>(a, row, scratch);
  for (; row < a.rows; ++row) attend_tile<1>(a, row, scratch);
}

constexpr Table make_table(std::string_view name) {
  return {name, product, expand_row, rms_norm, layer_norm, attend, swiglu, gelu_tanh, gelu_quick};
}
