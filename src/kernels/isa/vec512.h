// Part of avx512.cpp: 16 lanes in one 512-bit register; body.h says what they can do. Every lane
// rounds as a lane of Vec does.

struct Vec16 {
  static constexpr int kRows = 6;
  static constexpr int kChunks = 2;
  static constexpr int kPanelRows = 8;
  static constexpr int kPanelVectors = 3;
  __m512 v;

  static Vec16 set1(float x) { return {_mm512_set1_ps(x)}; }
  static Vec16 zero() { return {_mm512_setzero_ps()}; }
  static Vec16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1); }
  static Vec16 load_partial(const float* p, int n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  static Vec16 widen(__m256i halves) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
  }
  static Vec16 load(const uint16_t* p) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Vec16 load_bytes(const uint8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(Vec::load_16_bytes(p)))};
  }
  static Vec16 evens(const uint16_t* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
  }
  static Vec16 odds(const uint16_t* p) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), upper))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_partial(float* p, int n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  static Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend Vec16 operator+(Vec16 a, Vec16 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec16 operator-(Vec16 a, Vec16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec16 operator*(Vec16 a, Vec16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec16 operator/(Vec16 a, Vec16 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Vec16 max(Vec16 a, Vec16 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Vec16 round(Vec16 a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Vec16 pow2(Vec16 a) {
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
  }
  // n values of 16 bits, and zeros.
  static Vec16 load_half(const uint16_t* p, Float dtype, int n) {
    const __m256i halves = _mm256_maskz_loadu_epi16(mask(n), p);
    return dtype == Float::kF16 ? Vec16{_mm512_cvtph_ps(halves)} : widen(halves);
  }
  // Lane i + lane i + 8.
  Vec folded() const {
    return {_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1))};
  }
  float sum() const { return folded().sum(); }
  // Quarters 0 + 1 and 2 + 3 of each of two: (0 + 4), (1 + 5), ... of four halves.
  static __m512 fold(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  // Within quarters: elements 0 + 2 and 1 + 3 of a, then of b.
  static __m512 fold_quarters(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  }
  float lane_max() const { return _mm512_reduce_max_ps(v); }
  // Halves of a and of b added up, side by side.
  static __m512 fold_halves(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  using Four = __m512;
  static Four fold(const Vec16* w) {
    return fold(fold_halves(w[0].v, w[1].v), fold_halves(w[2].v, w[3].v));
  }
  static void finish(const Four* f, float* out) {
    const __m512 a = fold_quarters(f[0], f[1]);
    const __m512 b = fold_quarters(f[2], f[3]);
    const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_ps(out, _mm512_permutexvar_ps(order, all));
  }
  static __m512 low_pairs(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static __m512 high_pairs(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  // Quarter q of out[j] is lane 4 q + j of each of four.
  static void turn_quarters(__m512 a, __m512 b, __m512 c, __m512 d, __m512 out[4]) {
    const __m512 ab_low = _mm512_unpacklo_ps(a, b);
    const __m512 ab_high = _mm512_unpackhi_ps(a, b);
    const __m512 cd_low = _mm512_unpacklo_ps(c, d);
    const __m512 cd_high = _mm512_unpackhi_ps(c, d);
    out[0] = low_pairs(ab_low, cd_low);
    out[1] = high_pairs(ab_low, cd_low);
    out[2] = low_pairs(ab_high, cd_high);
    out[3] = high_pairs(ab_high, cd_high);
  }
  static void turn_rows(const float* from, int64_t stride, __m512 out[4]) {
    turn_quarters(_mm512_loadu_ps(from), _mm512_loadu_ps(from + stride),
                  _mm512_loadu_ps(from + 2 * stride), _mm512_loadu_ps(from + 3 * stride), out);
  }
  // to[j * to_stride + i] = from[i * stride + j] for 16 by 16.
  static void transpose(const float* from, int64_t stride, float* to, int64_t to_stride) {
    __m512 four[4][4];
    for (int i = 0; i < 4; ++i) turn_rows(from + 4 * i * stride, stride, four[i]);
    for (int j = 0; j < 4; ++j) {
      const __m512 even_low = _mm512_shuffle_f32x4(four[0][j], four[1][j], 0x88);
      const __m512 even_high = _mm512_shuffle_f32x4(four[2][j], four[3][j], 0x88);
      const __m512 odd_low = _mm512_shuffle_f32x4(four[0][j], four[1][j], 0xdd);
      const __m512 odd_high = _mm512_shuffle_f32x4(four[2][j], four[3][j], 0xdd);
      float* out = to + j * to_stride;
      _mm512_storeu_ps(out, _mm512_shuffle_f32x4(even_low, even_high, 0x88));
      _mm512_storeu_ps(out + 4 * to_stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
      _mm512_storeu_ps(out + 8 * to_stride, _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
      _mm512_storeu_ps(out + 12 * to_stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
    }
  }
  // to[j * kPanelRows + i] = from[i * stride + j] for kPanelRows by 16.
  static void interleave(const float* from, int64_t stride, float* to) {
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    __m512 a[4];
    __m512 b[4];
    turn_rows(from, stride, a);
    turn_rows(from + 4 * stride, stride, b);
    for (int j = 0; j < 4; ++j) {
      const __m512 first = _mm512_permutex2var_ps(a[j], low, b[j]);
      const __m512 second = _mm512_permutex2var_ps(a[j], high, b[j]);
      _mm256_storeu_ps(to + j * kPanelRows, _mm512_castps512_ps256(first));
      _mm256_storeu_ps(to + (j + 4) * kPanelRows, _mm512_extractf32x8_ps(first, 1));
      _mm256_storeu_ps(to + (j + 8) * kPanelRows, _mm512_castps512_ps256(second));
      _mm256_storeu_ps(to + (j + 12) * kPanelRows, _mm512_extractf32x8_ps(second, 1));
    }
  }
};
