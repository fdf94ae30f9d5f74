// Part of avx512.cpp: bfloat16 in pairs, as vdpbf16ps takes them, for prompt products and
// attention.

__m512 pairs_times(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

__m512i round_pairs(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// Elements [at, at + 32) of a row of `n` as bfloat16, zeros behind its end.
__m512i load_halves(const void* row, Float dtype, int64_t at, int n) {
  const int left = n - static_cast<int>(at);
  const auto mask = left >= 32 ? ~uint32_t{0} : (uint32_t{1} << left) - 1;
  if (dtype == Float::kBF16) {
    return _mm512_maskz_loadu_epi16(mask, static_cast<const uint16_t*>(row) + at);
  }
  const float* p = static_cast<const float*>(row) + at;
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), p + kLanes16);
  return round_pairs(low, high);
}
