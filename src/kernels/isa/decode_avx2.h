// Part of avx2.cpp: the bytes that decode_body.h works on, as pairs of 256-bit registers.

struct Ints {
  __m256i low = _mm256_setzero_si256();
  __m256i high = _mm256_setzero_si256();
};

struct Bytes {
  __m256i low;
  __m256i high;

  static Bytes load(const uint8_t* p, int n) {
    uint8_t part[64] = {};
    if (n < 64) {
      std::memcpy(part, p, static_cast<size_t>(n));
      p = part;
    }
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
  }
  Bytes low_nibbles() const {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(low, mask), _mm256_and_si256(high, mask)};
  }
  Bytes high_nibbles() const {
    return Bytes{_mm256_srli_epi16(low, 4), _mm256_srli_epi16(high, 4)}.low_nibbles();
  }
  template <int kBits>
  static uint64_t spread_bits(uint64_t stream) {
    return _pdep_u64(stream, 0x0101010101010101u * ((1u << kBits) - 1));
  }
  static void prefetch(const uint8_t* p) { _mm_prefetch(p + 8192, _MM_HINT_T0); }
  static void prefetch_beside(const uint16_t* p) { _mm_prefetch(p + 256, _MM_HINT_T0); }

  static __m256i signed_at(const int8_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  }
  // Nibbles times bytes fit 16 bits two by two.
  static __m256i nibble_dots(__m256i a, const int8_t* x, __m256i b, const int8_t* y) {
    const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(a, signed_at(x)),
                                           _mm256_maddubs_epi16(b, signed_at(y)));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
  static Ints dots(Bytes a, const int8_t* x, Bytes b, const int8_t* y) {
    return {nibble_dots(a.low, x, b.low, y), nibble_dots(a.high, x + 32, b.high, y + 32)};
  }
  // Whole bytes do not: w x = (w - 128) x + 128 x, where the first is |w - 128| times x with the
  // sign of w - 128, at most 128 * 127.
  static __m256i byte_dots(__m256i w, const int8_t* p) {
    const __m256i x = signed_at(p);
    const __m256i centred = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(centred), _mm256_sign_epi8(x, centred));
    const __m256i sums = _mm256_maddubs_epi16(_mm256_set1_epi8(1), x);
    return _mm256_add_epi32(_mm256_madd_epi16(pairs, one),
                            _mm256_slli_epi32(_mm256_madd_epi16(sums, one), 7));
  }
  static Ints dots(Bytes w, const int8_t* x) {
    return {byte_dots(w.low, x), byte_dots(w.high, x + 32)};
  }

  // Sums of four neighbours of each: half h of the result has theirs of half h.
  static __m256i half_sums(__m256i a, __m256i b, __m256i c, __m256i d) {
    return _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  }
  // The sums of all 8 of each.
  static Vec whole_sums(const __m256i* v) {
    const __m256i a = half_sums(v[0], v[1], v[2], v[3]);
    const __m256i b = half_sums(v[4], v[5], v[6], v[7]);
    return {_mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                                                _mm256_permute2x128_si256(a, b, 0x31)))};
  }
  template <int kPerBlock>
  static Vec16 block_sums(const Ints* c) {
    if constexpr (kPerBlock == 4) {
      const auto two = [](const Ints& a, const Ints& b) {
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        return Vec{_mm256_cvtepi32_ps(
            _mm256_permutevar8x32_epi32(half_sums(a.low, a.high, b.low, b.high), order))};
      };
      return {two(c[0], c[1]), two(c[2], c[3])};
    } else {
      __m256i v[16];
      for (int i = 0; i < 16; ++i) {
        v[i] = kPerBlock == 16 ? _mm256_add_epi32(c[i].low, c[i].high)
               : i % 2 == 0    ? c[i / 2].low
                               : c[i / 2].high;
      }
      return {whole_sums(v), whole_sums(v + 8)};
    }
  }
};
