// Part of avx512.cpp: attention with products in bfloat16, for prompt rows and pictures. Queries
// and weights are rounded to bfloat16, sums are float32, the softmax runs online over blocks of
// kFlashKeys keys. Each query's sums are a chain of its own over rising keys: its bits are the same
// in any tile, and a key that it does not see adds an exact zero.

// The keys of a block that each query of a tile sees, and their union.
template <int R>
struct Seen {
  int begin[R];
  int end[R];
  int lowest = kFlashKeys;
  int highest = 0;
  bool ragged = false;  // not all see the same

  Seen(const AttentionRows& a, int query, int block, int keys) {
    for (int r = 0; r < R; ++r) {
      const KeyRange seen = within(keys_of(a, query + r), block, keys);
      begin[r] = seen.begin;
      end[r] = seen.end;
      if (begin[r] == end[r]) continue;
      lowest = std::min(lowest, begin[r]);
      highest = std::max(highest, end[r]);
    }
    for (int r = 0; r < R; ++r) ragged = ragged || begin[r] != 0 || end[r] != kFlashKeys;
  }
};

// 2^x for x <= 126 with a relative error of 1e-4, of which rounding to bfloat16 leaves nothing;
// exactly 1 at 0, exactly 0 from -127 down, and NaN stays. Adding 1.5 * 2^23 rounds to a whole
// number, whose low bits then go to the exponent.
__m512 flash_exp2(__m512 x) {
  const __m512 magic = _mm512_set1_ps(12582912.0f);
  x = _mm512_max_ps(_mm512_set1_ps(-127), x);
  const __m512 n = _mm512_add_ps(x, magic);
  const __m512 r = _mm512_sub_ps(x, _mm512_sub_ps(n, magic));
  __m512 p = _mm512_set1_ps(0.05500893f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.24221097f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.6932829f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
  const __m512i shift = _mm512_slli_epi32(_mm512_castps_si512(n), 23);
  const __mmask16 numbers = _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q);
  const __m512i bits = _mm512_castps_si512(p);
  return _mm512_castsi512_ps(_mm512_mask_add_epi32(bits, numbers, bits, shift));
}

// Scores in units of ln 2, since the queries are scaled so; `highest` of each query's rise with
// them.
template <int R>
void flash_scores(const Flash& f, int query, const Seen<R>& seen, __m512* highest) {
  constexpr int kColumns = kFlashStrip / kLanes16;
  for (int s = seen.lowest / kFlashStrip; s * kFlashStrip < seen.highest; ++s) {
    const uint32_t* q = f.q + query * f.pairs;
    const uint32_t* k = f.k + s * f.pairs * kFlashStrip;
    __m512 sums[R][kColumns];
    for (auto& row : sums) std::fill(row, row + kColumns, _mm512_setzero_ps());
    for (int p = 0; p < f.pairs_used; ++p, k += kFlashStrip) {
      __m512i keys[kColumns];
      for (int c = 0; c < kColumns; ++c) keys[c] = _mm512_load_si512(k + c * kLanes16);
      for (int r = 0; r < R; ++r) {
        const __m512i pair = _mm512_set1_epi32(static_cast<int>(q[r * f.pairs + p]));
        for (int c = 0; c < kColumns; ++c) sums[r][c] = pairs_times(sums[r][c], pair, keys[c]);
      }
    }
    float* to = f.scores + s * kFlashStrip;
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < kColumns; ++c) {
        _mm512_store_ps(to + r * kFlashKeys + c * kLanes16, sums[r][c]);
      }
      const __m512 low = _mm512_max_ps(sums[r][0], sums[r][1]);
      const __m512 high = _mm512_max_ps(sums[r][2], sums[r][3]);
      highest[r] = _mm512_max_ps(highest[r], _mm512_max_ps(low, high));
    }
  }
}

// Lanes of keys [at, at + 16) that stand in [begin, end).
__mmask16 lanes_between(int at, int begin, int end) {
  const int low = std::clamp(begin - at, 0, kLanes16);
  const int high = std::clamp(end - at, 0, kLanes16);
  return static_cast<__mmask16>(((1u << high) - 1) & ~((1u << low) - 1));
}

// Caps one query's scores, adds its mask and hides what it does not see; the highest of what stays.
__m512 flash_limit(const AttentionRows& a, float* s, const float* mask, KeyRange seen, int begin,
                   int end) {
  const __m512 unseen = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  const __m512 cap = _mm512_set1_ps(a.softcap * kLog2E);
  const __m512 twice = _mm512_set1_ps(a.softcap > 0 ? 2 / a.softcap : 0);
  const __m512 one = _mm512_set1_ps(1);
  __m512 highest = unseen;
  for (int j = begin; j < end; j += kLanes16) {
    const __mmask16 lanes = lanes_between(j, seen.begin, seen.end);
    __m512 x = _mm512_load_ps(s + j);
    if (a.softcap > 0) {  // cap * tanh(y), tanh(y) = 1 - 2 / (1 + e^2y)
      const __m512 y = _mm512_min_ps(_mm512_set1_ps(126), _mm512_mul_ps(x, twice));
      const __m512 e = _mm512_add_ps(flash_exp2(y), one);
      x = _mm512_mul_ps(cap, _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2), e)));
    }
    if (mask) {
      const __m512 added = _mm512_maskz_loadu_ps(lanes, mask + j);
      x = _mm512_fmadd_ps(added, _mm512_set1_ps(kLog2E), x);
    }
    x = _mm512_mask_mov_ps(unseen, lanes, x);
    highest = _mm512_max_ps(highest, x);
    _mm512_store_ps(s + j, x);
  }
  return highest;
}

// The peaks of the queries with this block's scores.
template <int R>
void flash_peaks(const AttentionRows& a, const Flash& f, const Seen<R>& seen, int query, int block,
                 __m512* highest, float* peaks) {
  const bool limited = a.softcap > 0 || a.mask || seen.ragged;
  for (int r = 0; r < R; ++r) {
    if (limited) {
      const float* mask = mask_at(a, query + r);
      highest[r] = flash_limit(a, f.scores + r * kFlashKeys, mask ? mask + block : nullptr,
                               {seen.begin[r], seen.end[r]}, seen.lowest / 32 * 32,
                               (seen.highest + 31) / 32 * 32);
    }
    peaks[r] = std::max(peaks[r], _mm512_reduce_max_ps(highest[r]));
  }
}

// Scores become weights in bfloat16, sums of them float32; `shrink` is what older sums must take.
template <int R>
void flash_weights(const Flash& f, int query, const Seen<R>& seen, const float* peaks,
                   float* shrink) {
  const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  const __m512 risen = _mm512_loadu_ps(peaks);
  // A query that has not seen a key yet has nothing to shrink and no weight to give.
  const __m512 base = _mm512_maskz_mov_ps(_mm512_cmpneq_ps_mask(risen, lowest), risen);
  alignas(64) float bases[kLanes16];
  _mm512_store_ps(bases, base);
  _mm512_store_ps(shrink, flash_exp2(_mm512_sub_ps(_mm512_loadu_ps(f.peaks + query), base)));
  for (int r = 0; r < R; ++r) {
    const float* s = f.scores + r * kFlashKeys;
    uint32_t* weights = f.weights + r * kFlashKeys / 2;
    float* sums = f.sums + (query + r) * kLanes16;
    const __m512 peak = _mm512_set1_ps(bases[r]);
    __m512 sum = _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(shrink[r]));
    for (int j = seen.lowest / 32 * 32; j < seen.highest; j += 2 * kLanes16) {
      const __m512 low = flash_exp2(_mm512_sub_ps(_mm512_load_ps(s + j), peak));
      const __m512 high = flash_exp2(_mm512_sub_ps(_mm512_load_ps(s + j + kLanes16), peak));
      sum = _mm512_add_ps(_mm512_add_ps(sum, low), high);
      _mm512_store_si512(weights + j / 2, round_pairs(low, high));
    }
    _mm512_store_ps(sums, sum);
    f.peaks[query + r] = peaks[r];
  }
}

template <int R, int C>
void flash_values_strip(const Flash& f, const float* shrink, int begin, int end, const uint32_t* v,
                        float* out) {
  __m512 sums[R][C];
  for (int r = 0; r < R; ++r) {
    const __m512 factor = _mm512_set1_ps(shrink[r]);
    for (int c = 0; c < C; ++c) {
      sums[r][c] = _mm512_mul_ps(_mm512_load_ps(out + r * f.columns + c * kLanes16), factor);
    }
  }
  for (int j = begin; j < end; ++j) {
    __m512i values[C];
    for (int c = 0; c < C; ++c) values[c] = _mm512_load_si512(v + j * f.columns + c * kLanes16);
    for (int r = 0; r < R; ++r) {
      const __m512i pair = _mm512_set1_epi32(static_cast<int>(f.weights[r * kFlashKeys / 2 + j]));
      for (int c = 0; c < C; ++c) sums[r][c] = pairs_times(sums[r][c], pair, values[c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) _mm512_store_ps(out + r * f.columns + c * kLanes16, sums[r][c]);
  }
}

// Strips of 2 to 4 vectors, as even as they can be: a strip of one would wait for its sums.
template <int R>
void flash_values(const Flash& f, int query, const Seen<R>& seen, const float* shrink) {
  const int begin = seen.lowest / 2;
  const int end = (seen.highest + 1) / 2;
  int strips = (f.columns / kLanes16 + 3) / 4;
  for (int left = f.columns / kLanes16; left > 0; --strips) {
    const int count = (left + strips - 1) / strips;
    const int at = f.columns - left * kLanes16;
    float* out = f.out + query * f.columns + at;
    if (count == 4) flash_values_strip<R, 4>(f, shrink, begin, end, f.v + at, out);
    if (count == 3) flash_values_strip<R, 3>(f, shrink, begin, end, f.v + at, out);
    if (count == 2) flash_values_strip<R, 2>(f, shrink, begin, end, f.v + at, out);
    if (count == 1) flash_values_strip<R, 1>(f, shrink, begin, end, f.v + at, out);
    left -= count;
  }
}

template <int R>
void flash_tile(const AttentionRows& a, const Flash& f, int query, int block, int keys) {
  const Seen<R> seen(a, query, block, keys);
  if (seen.lowest >= seen.highest) return;
  alignas(64) float peaks[kLanes16] = {};
  alignas(64) float shrink[kLanes16];
  std::copy(f.peaks + query, f.peaks + query + R, peaks);
  __m512 highest[R];
  std::fill(highest, highest + R, _mm512_set1_ps(-std::numeric_limits<float>::infinity()));
  flash_scores<R>(f, query, seen, highest);
  flash_peaks<R>(a, f, seen, query, block, highest, peaks);
  flash_weights<R>(f, query, seen, peaks, shrink);
  flash_values<R>(f, query, seen, shrink);
}

// Asks for a part of the keys and values after this block: rows of a head may lie far apart.
void flash_fetch(const AttentionRows& a, int block, int last, int part, int parts) {
  const int first = block + kFlashKeys;
  const int keys = std::min(kFlashKeys, last - first);
  if (keys <= 0) return;
  const std::byte* k = key_row(a, first);
  const std::byte* v = value_row(a, first);
  const int bytes = row_bytes(a);
  for (int j = keys * part / parts; j < keys * (part + 1) / parts; ++j) {
    fetch<2>(k, j * a.k_stride, bytes);
    fetch<2>(v, j * a.v_stride, bytes);
  }
}

// Keys from `block` on, of those up to `last`.
void flash_block(const AttentionRows& a, const Flash& f, int block, int last) {
  const int keys = std::min(kFlashKeys, last - block);
  pack_keys(a, f, block, keys);
  if (!pack_values(a, f, block, 0, keys, keys)) {
    for (int t = 0; t < f.queries; ++t) {
      const Seen<1> seen(a, t, block, keys);
      pack_values(a, f, block, seen.begin[0], seen.end[0], keys);
      flash_tile<1>(a, f, t, block, keys);
    }
    return;
  }
  const int tiles = f.queries / kFlashTile;
  for (int i = 0; i < tiles; ++i) {
    flash_fetch(a, block, last, i, tiles);
    flash_tile<kFlashTile>(a, f, i * kFlashTile, block, keys);
  }
  int t = tiles * kFlashTile;
  for (; t + 3 <= f.queries; t += 3) flash_tile<3>(a, f, t, block, keys);
  for (; t < f.queries; ++t) flash_tile<1>(a, f, t, block, keys);
}

void begin_flash(const Flash& f) {
  std::fill(f.peaks, f.peaks + f.queries + kLanes16, -std::numeric_limits<float>::infinity());
  std::fill(f.sums, f.sums + f.queries * kLanes16, 0.0f);
  std::fill(f.out, f.out + f.queries * f.columns, 0.0f);
}

void write_flash(const AttentionRows& a, const Flash& f, int t) {
  float* out = output_at(a, t);
  const float sum = _mm512_reduce_add_ps(_mm512_load_ps(f.sums + t * kLanes16));
  const float share = sum == 0 ? 0 : share_of(a, t, f.peaks[t], sum);
  // An unseen key may have turned -0 into 0: adding 0 makes them one.
  for (int d = 0; d < a.head_dim; ++d) out[d] = f.out[t * f.columns + d] * share + 0.0f;
}

// All of it, where meet(block, last) adds a block's keys, of those up to `last`, to what the
// queries have.
template <class Meet>
void flash_attend(const AttentionRows& a, const Flash& f, Meet meet) {
  pack_queries(a, f);
  const auto [first, last] = keys_of_all(a);
  for (int block = first / kFlashKeys * kFlashKeys; block < last; block += kFlashKeys) {
    meet(block, last);
  }
  for (int t = 0; t < f.queries; ++t) write_flash(a, f, t);
}

void attend_bf16(const AttentionRows& a, float* scratch) {
  const Flash f(a, scratch);
  begin_flash(f);
  flash_attend(a, f, [&](int block, int last) { flash_block(a, f, block, last); });
}
