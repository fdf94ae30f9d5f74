// Part of avx512.cpp: prompt rows times weights in bfloat16, by vdpbf16ps.
//
// A unit is a pair of inputs. 4-bit weights are expanded with the even inputs of each 64 before the
// odd ones, and activations are laid out alike, where rows are whole 64s. Rows are padded with
// zeros to whole vectors of 32 inputs.

constexpr int kPairs = 32;  // inputs of a vector
constexpr int kStretchInputs = 2 * kStretchUnits;

bool evens_first(const WeightRows& w) { return w.bits == 4 && w.k % 64 == 0 && w.turned_rows == 0; }

// Floats to bfloat16, with zeros behind up to a whole vector.
void round_row(const float* x, int count, uint16_t* out) {
  for (int i = 0; i < count; i += kPairs) {
    _mm512_storeu_si512(out + i, load_halves(x, Float::kF32, i, count));
  }
}

void put_evens_first(uint16_t* row, int count) {
  alignas(64) uint16_t places[64];
  for (int i = 0; i < 32; ++i) {
    places[i] = static_cast<uint16_t>(2 * i);
    places[32 + i] = static_cast<uint16_t>(2 * i + 1);
  }
  const __m512i even = _mm512_load_si512(places);
  const __m512i odd = _mm512_load_si512(places + 32);
  for (int i = 0; i < count; i += 64) {
    const __m512i a = _mm512_loadu_si512(row + i);
    const __m512i b = _mm512_loadu_si512(row + i + 32);
    _mm512_storeu_si512(row + i, _mm512_permutex2var_epi16(a, even, b));
    _mm512_storeu_si512(row + i + 32, _mm512_permutex2var_epi16(a, odd, b));
  }
}

void prepare_bf16(const float* x, int rows, const WeightRows& w, std::byte* block) {
  alignas(64) float from[kPanelRows * kStretchUnits];
  for (int k = 0; k < w.inputs(); k += kStretchInputs) {
    const int count = std::min(kStretchInputs, w.inputs() - k);
    for (int r = 0; r < rows; ++r) {
      auto* row = reinterpret_cast<uint16_t*>(from + r * kStretchUnits);
      round_row(x + int64_t{r} * w.inputs() + k, count, row);
      if (evens_first(w)) put_evens_first(row, count);
    }
    pack_block(from, rows, k / 2, (count + 1) / 2, reinterpret_cast<float*>(block));
  }
}

// The 16 values of a group of 4-bit weights.
__m512 nibble_values(const WeightRows& w, size_t group) {
  const __m512 scale = _mm512_set1_ps(float_at(w.scales, w.dtype, group));
  if (w.floats) {
    const __m512 values =
        _mm512_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6);
    return _mm512_mul_ps(values, scale);
  }
  const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_fmadd_ps(steps, scale, _mm512_set1_ps(float_at(w.biases, w.dtype, group)));
}

// A group's values are rounded once and then looked up: by nibble, and by quarter of 64 inputs.
void expand_nibbles(const WeightRows& w, int row, int begin, int count, uint16_t* out) {
  const uint8_t* bytes = packed_row(w, row) + begin / 2;
  const size_t first = static_cast<size_t>(row) * (w.k / w.group_size);
  alignas(64) uint16_t quarters[32];
  for (int i = 0; i < 32; ++i) quarters[i] = static_cast<uint16_t>(i / 8 * 16);
  const __m512i quarter = _mm512_load_si512(quarters);
  const __m512i nibble = _mm512_set1_epi16(15);
  for (int i = 0; i < count; i += 64) {
    const auto values = [&](int at) {
      return nibble_values(w, first + static_cast<size_t>((begin + i + at) / w.group_size));
    };
    __m512i low = _mm512_setzero_si512();
    __m512i high = low;
    if (w.group_size >= 64) {
      const __m512 all = values(0);
      low = high = round_pairs(all, all);
    } else if (w.group_size == 32) {
      const __m512 a = values(0);
      const __m512 b = values(32);
      low = round_pairs(a, a);
      high = round_pairs(b, b);
    } else {
      low = round_pairs(values(0), values(16));
      high = round_pairs(values(32), values(48));
    }
    const __m512i pairs =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + i / 2)));
    const auto look_up = [&](__m512i index) {
      const __m512i where = _mm512_or_si512(_mm512_and_si512(index, nibble), quarter);
      return _mm512_permutex2var_epi16(low, where, high);
    };
    _mm512_store_si512(out + i, look_up(pairs));
    _mm512_store_si512(out + i + 32, look_up(_mm512_srli_epi16(pairs, 4)));
  }
}

void expand_bytes(const WeightRows& w, int row, int begin, int count, uint16_t* out) {
  const uint8_t* bytes = packed_row(w, row) + begin;
  const size_t first = static_cast<size_t>(row) * (w.k / w.group_size);
  for (int i = 0; i < count; i += 32) {
    const size_t index = first + static_cast<size_t>((begin + i) / w.group_size);
    const __m512 scale = _mm512_set1_ps(float_at(w.scales, w.dtype, index));
    const __m512 bias = _mm512_set1_ps(float_at(w.biases, w.dtype, index));
    const auto sixteen = [&](int at) {
      const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i + at));
      return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(q)), scale, bias);
    };
    _mm512_storeu_si512(out + i, round_pairs(sixteen(0), sixteen(16)));
  }
}

// Inputs [begin, begin + count) of a weight row in bfloat16, padded with zeros.
void expand_stretch(const WeightRows& w, int row, int begin, int count, uint16_t* out) {
  if (evens_first(w)) return expand_nibbles(w, row, begin, count, out);
  if (w.bits == 8 && !w.floats) return expand_bytes(w, row, begin, count, out);
  if (w.bits == 0 && w.dtype == Float::kBF16) {
    const auto* halves = static_cast<const uint16_t*>(w.data) + static_cast<size_t>(row) * w.k;
    for (int i = 0; i < count; i += kPairs) {
      _mm512_store_si512(out + i, load_halves(halves + begin, Float::kBF16, i, count));
    }
    return;
  }
  alignas(64) float values[kStretchInputs];
  expand_inputs(w, row, begin, count, values);
  round_row(values, count, out);
}

// 16 lanes of two rows as pairs.
__m512i paired(__m512 first, __m512 second) {
  const auto halves = [](__m512 x) {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  };
  return _mm512_or_si512(halves(first), _mm512_slli_epi32(halves(second), 16));
}

void prepare_turned_bf16(const float* x, int64_t stride, int rows, const WeightRows& w,
                         std::byte* block) {
  const __mmask16 some = Vec16::mask(rows);
  auto* out = reinterpret_cast<__m256i*>(block);
  for (int i = 0; i < w.inputs(); i += 2, ++out) {
    const __m512 first = _mm512_maskz_loadu_ps(some, x + i * stride);
    const __m512 second =
        i + 1 < w.inputs() ? _mm512_maskz_loadu_ps(some, x + (i + 1) * stride) : __m512{};
    _mm256_storeu_si256(out, _mm512_castsi512_si256(paired(first, second)));
  }
}

// Pairs of bfloat16.
struct PairUnit {
  static constexpr int kInputs = 2;
  static constexpr int kRowLanes = 0;
  using Sum = Vec16;

  PairUnit(const PromptProduct&, const WeightRows&) {}
  static Vec16 times(Vec16 x, Vec16 columns, Vec16 sum) {
    return {pairs_times(sum.v, _mm512_castps_si512(x.v), _mm512_castps_si512(columns.v))};
  }
  static Vec16 value(Vec16 sum, int, int) { return sum; }
  static void fill(const WeightRows& w, int first, int count, int begin, int inputs, float* to) {
    for (int i = 0; i < count; ++i) {
      expand_stretch(w, first + i, begin, inputs,
                     reinterpret_cast<uint16_t*>(to + i * kStretchUnits));
    }
  }
  static void fill_turned(const WeightRows& w, int first, int count, int begin, int inputs,
                          float* to, int stride) {
    ColumnFloats even;
    ColumnFloats odd;
    const float zeros[kPanelColumns] = {};
    for (int i = 0; i < inputs; i += 2, to += stride) {
      const float* a = even.of(w, begin + i, first, count);
      const float* b = i + 1 < inputs ? odd.of(w, begin + i + 1, first, count) : zeros;
      for (int c = 0; c < count; c += kLanes16) {
        const auto some = Vec16::mask(std::min(kLanes16, count - c));
        _mm512_storeu_si512(
            to + c, paired(_mm512_maskz_loadu_ps(some, a + c), _mm512_maskz_loadu_ps(some, b + c)));
      }
    }
  }
};
