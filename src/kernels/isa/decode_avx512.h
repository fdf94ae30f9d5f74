// Part of avx512.cpp: the types that decode_body.h works on, as 512-bit registers.

struct Wide {
  __m512 v;

  static Wide zero() { return {_mm512_setzero_ps()}; }
  static Wide load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Wide load_half(const uint16_t* p, Float dtype, int n) {
    const auto mask = static_cast<__mmask16>((1u << n) - 1);
    const __m256i halves = _mm256_maskz_loadu_epi16(mask, p);
    if (dtype == Float::kF16) return {_mm512_cvtph_ps(halves)};
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
  }
  static Wide fma(Wide a, Wide b, Wide c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend Wide operator*(Wide a, Wide b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static __m512i spread_start(int per) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int shift = per == 16 ? 4 : per == 8 ? 3 : 2;
    return _mm512_srl_epi32(lane, _mm_cvtsi32_si128(shift));
  }
  static __m512i spread_next(__m512i s, int lanes) {
    return _mm512_add_epi32(s, _mm512_set1_epi32(lanes));
  }
  Wide spread(__m512i index) const { return {_mm512_permutexvar_ps(index, v)}; }
  float sum() const {
    return Vec{_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1))}.sum();
  }
};

struct Bytes {
  __m512i v;

  static Bytes load(const uint8_t* p, int n) {
    if (n >= 64) return {_mm512_loadu_si512(p)};
    return {_mm512_maskz_loadu_epi8((uint64_t{1} << n) - 1, p)};
  }
  Bytes low_nibbles() const { return {_mm512_and_si512(v, _mm512_set1_epi8(15))}; }
  Bytes high_nibbles() const { return Bytes{_mm512_srli_epi16(v, 4)}.low_nibbles(); }
  template <int kBits>
  static uint64_t spread_bits(uint64_t stream) {
    return _pdep_u64(stream, 0x0101010101010101u * ((1u << kBits) - 1));
  }
  static void prefetch(const uint8_t* p) { _mm_prefetch(p + 4096, _MM_HINT_T0); }

  static __m512i multiply_add(__m512i sums, Bytes w, const int8_t* x) {
    return _mm512_dpbusd_epi32(sums, w.v, _mm512_load_si512(x));
  }
  static Wide dots(Bytes a, const int8_t* x, Bytes b, const int8_t* y) {
    const __m512i sums = multiply_add(_mm512_setzero_si512(), a, x);
    return {_mm512_cvtepi32_ps(multiply_add(sums, b, y))};
  }
  static Wide dots(Bytes w, const int8_t* x) {
    return {_mm512_cvtepi32_ps(multiply_add(_mm512_setzero_si512(), w, x))};
  }
};
