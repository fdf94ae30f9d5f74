// Part of avx512.cpp: the bytes that decode_body.h works on, as 512-bit registers.

struct Ints {
  __m512i v = _mm512_setzero_si512();
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
  // 64 values of kBits as bytes: a quarter has 16 of them in 2 kBits bytes. Those of even number,
  // and those of odd, are each shifted out of the two bytes where they lie.
  template <int kBits>
  static void spread_64(const uint8_t* packed, uint8_t* bytes) {
    struct Places {
      uint8_t bytes[2][16];
      uint16_t shifts[2][8];
    };
    constexpr Places kPlaces = [] {
      Places places{};
      for (int i = 0; i < 16; ++i) {
        const int bit = i * kBits;
        places.bytes[i % 2][i / 2 * 2] = static_cast<uint8_t>(bit / 8);
        places.bytes[i % 2][i / 2 * 2 + 1] = static_cast<uint8_t>(bit / 8 + 1);
        places.shifts[i % 2][i / 2] = static_cast<uint16_t>(bit % 8);
      }
      return places;
    }();
    const auto quarter = [&](int i) {
      return _mm_maskz_loadu_epi8((1u << 2 * kBits) - 1, packed + i * 2 * kBits);
    };
    __m512i all = _mm512_castsi128_si512(quarter(0));
    all = _mm512_inserti32x4(all, quarter(1), 1);
    all = _mm512_inserti32x4(all, quarter(2), 2);
    all = _mm512_inserti32x4(all, quarter(3), 3);
    const auto four_times = [](const void* p) {
      return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
    };
    const __m512i mask = _mm512_set1_epi16((1 << kBits) - 1);
    const auto values = [&](int odd) {
      const __m512i words = _mm512_shuffle_epi8(all, four_times(kPlaces.bytes[odd]));
      return _mm512_and_si512(_mm512_srlv_epi16(words, four_times(kPlaces.shifts[odd])), mask);
    };
    _mm512_storeu_si512(bytes, _mm512_or_si512(values(0), _mm512_slli_epi16(values(1), 8)));
  }
  // 8 KB of 4-bit weights ahead, and their scales: the hardware alone looks less far.
  static void prefetch(const uint8_t* p) { _mm_prefetch(p + 8192, _MM_HINT_T0); }
  static void prefetch_beside(const uint16_t* p) { _mm_prefetch(p + 256, _MM_HINT_T0); }

  static Ints multiply_add(Ints sums, Bytes w, const int8_t* x) {
    return {_mm512_dpbusd_epi32(sums.v, w.v, _mm512_load_si512(x))};
  }
  static Ints dots(Bytes a, const int8_t* x, Bytes b, const int8_t* y) {
    return multiply_add(multiply_add(Ints(), a, x), b, y);
  }
  static Ints dots(Bytes w, const int8_t* x) { return multiply_add(Ints(), w, x); }

  // Sums of four neighbours of each of four: quarter q of the result has theirs of quarter q.
  static __m512i quarter_sums(const Ints* c) {
    const auto pairs = [](__m512i a, __m512i b) {
      return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    };
    const __m512i a = pairs(c[0].v, c[1].v);
    const __m512i b = pairs(c[2].v, c[3].v);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  }
  // Quarters 0 + 1 and 2 + 3 of a, then of b.
  static __m512i fold_quarters(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  }
  template <int kPerBlock>
  static Vec16 block_sums(const Ints* c) {
    __m512i sums = quarter_sums(c);
    if constexpr (kPerBlock == 4) {
      const auto order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      sums = _mm512_permutexvar_epi32(order, sums);
    } else if constexpr (kPerBlock == 8) {
      const auto order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
      sums = _mm512_permutexvar_epi32(order, fold_quarters(sums, quarter_sums(c + 4)));
    } else {
      sums = fold_quarters(fold_quarters(sums, quarter_sums(c + 4)),
                           fold_quarters(quarter_sums(c + 8), quarter_sums(c + 12)));
    }
    return {_mm512_cvtepi32_ps(sums)};
  }
};
