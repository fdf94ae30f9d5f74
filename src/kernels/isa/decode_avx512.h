// Part of avx512.cpp: the bytes that decode_body.h works on, as 512-bit registers.

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
  static Vec16 dots(Bytes a, const int8_t* x, Bytes b, const int8_t* y) {
    const __m512i sums = multiply_add(_mm512_setzero_si512(), a, x);
    return {_mm512_cvtepi32_ps(multiply_add(sums, b, y))};
  }
  static Vec16 dots(Bytes w, const int8_t* x) {
    return {_mm512_cvtepi32_ps(multiply_add(_mm512_setzero_si512(), w, x))};
  }
};
