// Part of avx512.cpp: prompt rows times weights, both as 8-bit integers with a scale for each row,
// by vpdpbusd.
//
// Its first factor has no sign: activations are kept 128 too large, and the weights' sums times 128
// are taken off again. Sums are exact, so their order does not matter; K is below 2^16.

struct IntSum {
  __m512i v;

  static IntSum zero() { return {_mm512_setzero_si512()}; }
  static IntSum load(const float* p) { return {_mm512_loadu_si512(p)}; }
  void store(float* p) const { _mm512_storeu_si512(p, v); }
  friend IntSum operator+(IntSum a, IntSum b) { return {_mm512_add_epi32(a.v, b.v)}; }
};

// Four bytes. A block ends with the scales of its rows.
struct QuadUnit {
  static constexpr int kInputs = 4;
  static constexpr int kRowLanes = 1;
  using Sum = IntSum;

  const float* scales;
  const int32_t* weight_sums;
  const std::byte* x;
  size_t block_bytes;
  size_t row_scales;  // where they stand in a block, in bytes
  int columns_end;

  QuadUnit(const PromptProduct& p, const WeightRows& w)
      : scales(static_cast<const float*>(w.scales)),
        weight_sums(static_cast<const int32_t*>(w.biases)),
        x(p.x),
        block_bytes(panel_block_bytes<QuadUnit>(w)),
        row_scales(static_cast<size_t>(units_of<QuadUnit>(w.k)) * kPanelRows * 4),
        columns_end(p.n) {}

  static IntSum times(Vec16 x, Vec16 columns, IntSum sum) {
    return {_mm512_dpbusd_epi32(sum.v, _mm512_castps_si512(x.v), _mm512_castps_si512(columns.v))};
  }
  Vec16 value(IntSum sum, int row, int column) const {
    const auto mask = Vec16::mask(std::min(kLanes16, columns_end - column));
    float scale;
    std::memcpy(&scale, x + row / kPanelRows * block_bytes + row_scales + row % kPanelRows * 4, 4);
    const __m512i excess =
        _mm512_slli_epi32(_mm512_maskz_loadu_epi32(mask, weight_sums + column), 7);
    const __m512 whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum.v, excess));
    const __m512 by =
        _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_maskz_loadu_ps(mask, scales + column));
    return {_mm512_mul_ps(whole, by)};
  }
  static void fill(const WeightRows& w, int first, int count, int begin, int inputs, float* to) {
    const auto* data = static_cast<const char*>(w.data);
    for (int i = 0; i < count; ++i) {
      auto* out = reinterpret_cast<char*>(to + i * kStretchUnits);
      if (inputs % 4 != 0) std::memset(out + inputs / 4 * 4, 0, 4);
      std::memcpy(out, data + static_cast<size_t>(first + i) * w.k + begin,
                  static_cast<size_t>(inputs));
    }
  }
};

// 16 activations as bytes that are 128 too large.
__m128i biased_bytes(__m512 x, __m512 inverse) {
  const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
  return _mm_xor_si128(_mm512_cvtepi32_epi8(q), _mm_set1_epi8(-128));
}

void prepare_int8(const float* x, int rows, const WeightRows& w, std::byte* block) {
  alignas(64) float from[kPanelRows * kStretchUnits];
  float scales[kPanelRows] = {};
  for (int r = 0; r < rows; ++r) scales[r] = block_scale(x + int64_t{r} * w.k, w.k);
  constexpr int kStretch = 4 * kStretchUnits;
  for (int k = 0; k < w.k; k += kStretch) {
    const int count = std::min(kStretch, w.k - k);
    for (int r = 0; r < rows; ++r) {
      // Not a number: the scale says so, the bytes are whatever.
      const __m512 inverse = _mm512_set1_ps(scales[r] > 1e-30f ? 1 / scales[r] : 0);
      const float* row = x + int64_t{r} * w.k + k;
      auto* bytes = reinterpret_cast<char*>(from + r * kStretchUnits);
      for (int i = 0; i < count; i += kLanes16) {
        const __m512 values =
            _mm512_maskz_loadu_ps(Vec16::mask(std::min(kLanes16, count - i)), row + i);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + i), biased_bytes(values, inverse));
      }
    }
    pack_block(from, rows, k / 4, (count + 3) / 4, reinterpret_cast<float*>(block));
  }
  std::memcpy(block + static_cast<size_t>(units_of<QuadUnit>(w.k)) * kPanelRows * 4, scales,
              sizeof(scales));
}
