// Part of avx512.cpp: queries, keys and values in bfloat16, packed for flash_avx512.h. vdpbf16ps
// multiplies pairs, so keys are pairs of head elements with keys as lanes, and values pairs of keys
// with head elements as lanes.

constexpr int kFlashTile = 6;    // queries whose sums fill the registers
constexpr int kFlashStrip = 64;  // keys beside them
constexpr int kFlashKeys = 128;  // a block: packed K and V stay near the core

// What attend_bf16 keeps in its scratch.
struct Flash {
  int queries;
  int pairs_used;     // of head elements
  int pairs;          // the same in whole vectors
  int columns;        // head elements in whole vectors
  uint32_t* q;        // [queries][pairs]
  float* out;         // [queries][columns], relative to 2^peak as the sums are
  float* sums;        // [queries][kLanes16]
  float* peaks;       // [queries]
  uint32_t* k;        // [strip][pairs][kFlashStrip]
  uint32_t* v;        // [kFlashKeys / 2][columns]
  float* scores;      // [kFlashTile][kFlashKeys]
  uint32_t* weights;  // [kFlashTile][kFlashKeys / 2]

  Flash(const AttentionRows& a, float* scratch) : queries(a.rows * a.group) {
    pairs_used = (a.head_dim + 1) / 2;
    pairs = (a.head_dim + 2 * kLanes16 - 1) / (2 * kLanes16) * kLanes16;
    columns = (a.head_dim + kLanes16 - 1) / kLanes16 * kLanes16;
    const auto take = [&](int count) {
      float* taken = scratch;
      scratch += (count + kLanes16 - 1) / kLanes16 * kLanes16;
      return taken;
    };
    const auto take_pairs = [&](int count) { return reinterpret_cast<uint32_t*>(take(count)); };
    k = take_pairs(kFlashKeys * pairs);
    v = take_pairs(kFlashKeys / 2 * columns);
    scores = take(kFlashTile * kFlashKeys);
    weights = take_pairs(kFlashTile * kFlashKeys / 2);
    peaks = take(queries + kLanes16);  // a tile loads a whole vector of them
    sums = take(queries * kLanes16);
    q = take_pairs(queries * pairs);
    out = take(queries * columns);
  }
};

// A 16 x 16 matrix of 32-bit numbers, rows to columns.
void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512i even = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
    const __m512i even2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    const __m512i odd2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(even, even2, 0x88);
    t[4 + c] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(even, even2, 0xdd);
    t[12 + c] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
  }
  std::copy(t, t + 16, r);
}

// Scaled, so that scores come out in units of ln 2.
void pack_queries(const AttentionRows& a, const Flash& f) {
  const __m512 scale = _mm512_set1_ps(a.scale * kLog2E);
  for (int t = 0; t < f.queries; ++t) {
    const float* q = query_at(a, t);
    for (int p = 0; p < f.pairs; p += kLanes16) {
      const auto load = [&](int at) {
        const int left = std::clamp(a.head_dim - at, 0, kLanes16);
        return _mm512_mul_ps(_mm512_maskz_loadu_ps(Vec16::mask(left), q + at), scale);
      };
      _mm512_store_si512(f.q + t * f.pairs + p, round_pairs(load(2 * p), load(2 * p + kLanes16)));
    }
  }
}

// Elements [at, at + 32) of a row of keys or values as bfloat16; those behind its end are zeros, or
// meet zeros of the queries.
__m512i load_row(const AttentionRows& a, const std::byte* row, int at) {
  if (a.kv_type == KvType::kBytes) {
    const ByteRow bytes(a, row);
    return round_pairs(bytes.half(at, 0).v, bytes.half(at, 1).v);
  }
  const Float dtype = a.kv_type == KvType::kF32 ? Float::kF32 : Float::kBF16;
  return load_halves(row, dtype, at, a.head_dim);
}

// Keys [block, block + keys), zeros up to a whole strip.
void pack_keys(const AttentionRows& a, const Flash& f, int block, int keys) {
  const std::byte* first = key_row(a, block);
  for (int j = 0; j < (keys + kFlashStrip - 1) / kFlashStrip * kFlashStrip; j += kLanes16) {
    uint32_t* to = f.k + j / kFlashStrip * f.pairs * kFlashStrip + j % kFlashStrip;
    for (int p = 0; p < f.pairs; p += kLanes16) {
      __m512i rows[kLanes16];
      for (int i = 0; i < kLanes16; ++i) {
        const std::byte* key = first + (j + i) * a.k_stride;
        rows[i] = j + i < keys ? load_row(a, key, 2 * p) : _mm512_setzero_si512();
      }
      transpose(rows);
      for (int i = 0; i < kLanes16; ++i) _mm512_store_si512(to + (p + i) * kFlashStrip, rows[i]);
    }
  }
}

// Values of keys [block + begin, block + end), zeros for the others up to block + keys. False when
// one of them is not a finite number: then the zero weight of a query that does not see it does not
// make it vanish.
bool pack_values(const AttentionRows& a, const Flash& f, int block, int begin, int end, int keys) {
  const auto halves = [](int first) {
    alignas(64) uint16_t index[32];
    for (int i = 0; i < 32; ++i) index[i] = static_cast<uint16_t>(first + i / 2 + i % 2 * 32);
    return _mm512_load_si512(index);
  };
  const __m512i low = halves(0);
  const __m512i high = halves(16);
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  const std::byte* first = value_row(a, block);
  uint32_t wild = 0;
  const auto load = [&](int j, int d) {
    if (j < begin || j >= end) return _mm512_setzero_si512();
    const __m512i x = load_row(a, first + j * a.v_stride, d);
    wild |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
    return x;
  };
  for (int j = 0; j < keys; j += 2) {
    uint32_t* to = f.v + j / 2 * f.columns;
    for (int d = 0; d < a.head_dim; d += 2 * kLanes16) {
      const __m512i one = load(j, d);
      const __m512i two = load(j + 1, d);
      _mm512_store_si512(to + d, _mm512_permutex2var_epi16(one, low, two));
      if (d + kLanes16 < f.columns) {
        _mm512_store_si512(to + d + kLanes16, _mm512_permutex2var_epi16(one, high, two));
      }
    }
  }
  return wild == 0;
}
