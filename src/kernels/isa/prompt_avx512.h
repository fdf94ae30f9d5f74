// Part of avx512.cpp: prompt rows times weights in bfloat16, by vdpbf16ps.
//
// The order of a sum: stretches of kStretch inputs one after another; within a stretch, pairs of
// neighbours go to 16 lanes in turn; then the lanes, the halves first. 4-bit weights in groups of
// 64 or more are expanded with the even inputs of each 64 before the odd ones, and activations are
// laid out alike. Rows are padded with zeros to whole vectors of 32 inputs.

constexpr int kPairs = 32;  // inputs of a vector

int padded_inputs(int k) { return (k + kPairs - 1) / kPairs * kPairs; }

bool evens_first(const WeightRows& w) { return w.bits == 4 && w.group_size >= 64; }

size_t prompt_row_bytes(const WeightRows& w) { return static_cast<size_t>(padded_inputs(w.k)) * 2; }

// Floats to bfloat16, with zeros behind up to a whole vector.
void round_row(const float* x, int count, uint16_t* out) {
  for (int i = 0; i < count; i += kPairs) {
    _mm512_storeu_si512(out + i, load_halves(x, Float::kF32, i, count));
  }
}

void prepare_prompt_row(const float* x, const WeightRows& w, std::byte* row) {
  auto* out = reinterpret_cast<uint16_t*>(row);
  round_row(x, w.k, out);
  if (!evens_first(w)) return;
  alignas(64) uint16_t places[64];
  for (int i = 0; i < 32; ++i) {
    places[i] = static_cast<uint16_t>(2 * i);
    places[32 + i] = static_cast<uint16_t>(2 * i + 1);
  }
  const __m512i even = _mm512_load_si512(places);
  const __m512i odd = _mm512_load_si512(places + 32);
  for (int i = 0; i < w.k; i += 64) {
    const __m512i a = _mm512_loadu_si512(out + i);
    const __m512i b = _mm512_loadu_si512(out + i + 32);
    _mm512_storeu_si512(out + i, _mm512_permutex2var_epi16(a, even, b));
    _mm512_storeu_si512(out + i + 32, _mm512_permutex2var_epi16(a, odd, b));
  }
}

// A group of 4-bit weights has 16 values: they are rounded once and then looked up.
void expand_nibbles(const WeightRows& w, int row, int begin, int count, uint16_t* out) {
  const uint8_t* bytes = packed_row(w, row) + begin / 2;
  const size_t first = static_cast<size_t>(row) * (w.k / w.group_size);
  const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int i = 0; i < count; i += 64) {
    const size_t index = first + static_cast<size_t>((begin + i) / w.group_size);
    const __m512 values = _mm512_fmadd_ps(steps, _mm512_set1_ps(float_at(w.scales, w.dtype, index)),
                                          _mm512_set1_ps(float_at(w.biases, w.dtype, index)));
    // Twice, so that the fifth bit of an index does not matter.
    const __m512i table = round_pairs(values, values);
    const __m512i pairs =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + i / 2)));
    _mm512_store_si512(out + i, _mm512_permutexvar_epi16(pairs, table));
    _mm512_store_si512(out + i + 32, _mm512_permutexvar_epi16(_mm512_srli_epi16(pairs, 4), table));
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
  if (w.bits == 8) return expand_bytes(w, row, begin, count, out);
  alignas(64) float values[kStretch];
  if (w.bits != 0) {
    with_bits(w.bits, [&](auto bits) { expand_groups<bits()>(w, row, begin, count, values); });
  } else {
    const auto* half =
        static_cast<const char*>(w.data) + (static_cast<size_t>(row) * w.k + begin) * 2;
    expand_half(reinterpret_cast<const uint16_t*>(half), w.dtype == Float::kBF16, count, values);
  }
  round_row(values, count, out);
}

// Sums of R rows with C columns over `vectors` vectors.
template <int R, int C>
void pairs_tile(const uint16_t* x, int64_t x_stride, const uint16_t* w, int64_t w_stride,
                int vectors, float out[R][C]) {
  __m512 sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = _mm512_setzero_ps();
  }
  for (int i = 0; i < vectors * kPairs; i += kPairs) {
    __m512i columns[C];
    for (int c = 0; c < C; ++c) columns[c] = _mm512_loadu_si512(w + c * w_stride + i);
    for (int r = 0; r < R; ++r) {
      const __m512i row = _mm512_loadu_si512(x + r * x_stride + i);
      for (int c = 0; c < C; ++c) sums[r][c] = pairs_times(sums[r][c], row, columns[c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    if constexpr (C == 4) {
      Vec halves[4];
      for (int c = 0; c < 4; ++c) {
        halves[c] = Vec16{sums[r][c]}.folded();
      }
      Vec::sums(halves, out[r]);
    } else {
      for (int c = 0; c < C; ++c) out[r][c] = Vec16{sums[r][c]}.sum();
    }
  }
}

// One stretch of the inputs: rows of x and columns of weights, both from its first input on.
struct PromptStretch {
  const uint16_t* x;
  int64_t x_stride;
  const uint16_t* w;
  int64_t w_stride;
  int vectors;
  bool first;         // y is set, else added to
  const float* bias;  // added with the last stretch; of the first column
  float* y;           // of the first row and column
  int64_t y_stride;
};

template <int R, int C>
void stretch_tile(const PromptStretch& s, int row, int column) {
  float sums[R][C];
  pairs_tile<R, C>(s.x + row * s.x_stride, s.x_stride, s.w + column * s.w_stride, s.w_stride,
                   s.vectors, sums);
  for (int r = 0; r < R; ++r) {
    float* y = s.y + (row + r) * s.y_stride + column;
    for (int c = 0; c < C; ++c) {
      const float sum = s.first ? sums[r][c] : y[c] + sums[r][c];
      y[c] = s.bias ? sum + s.bias[column + c] : sum;
    }
  }
}

template <int C>
void stretch_columns(const PromptStretch& s, int begin, int end, int column) {
  int row = begin;
  for (; row + 6 <= end; row += 6) stretch_tile<6, C>(s, row, column);
  switch (end - row) {
    case 5:
      return stretch_tile<5, C>(s, row, column);
    case 4:
      return stretch_tile<4, C>(s, row, column);
    case 3:
      return stretch_tile<3, C>(s, row, column);
    case 2:
      return stretch_tile<2, C>(s, row, column);
    case 1:
      return stretch_tile<1, C>(s, row, column);
    default:
      return;
  }
}

// Rows that stay in the first-level cache, beside four columns, while a panel passes from the
// second.
int rows_at_once(int vectors) {
  constexpr int kBytes = 31 * 1024;
  return std::clamp(kBytes / (vectors * 64) / 6, 1, 8) * 6;
}

void stretch_panel(const PromptStretch& s, int rows, int columns) {
  const int block = rows_at_once(s.vectors);
  for (int begin = 0; begin < rows; begin += block) {
    const int end = std::min(rows, begin + block);
    int column = 0;
    for (; column + 4 <= columns; column += 4) stretch_columns<4>(s, begin, end, column);
    for (; column < columns; ++column) stretch_columns<1>(s, begin, end, column);
  }
}

// Weights that lie in the file as the tiles want them are not copied.
bool read_in_place(const WeightRows& w) {
  return w.bits == 0 && w.dtype == Float::kBF16 && w.k % kPairs == 0;
}

void prompt_product(const std::byte* x, int m_count, const WeightRows& w, int n_begin, int n_end,
                    const float* bias, float* y, int64_t y_stride, std::byte* scratch) {
  const auto* rows = reinterpret_cast<const uint16_t*>(x);
  auto* panel = reinterpret_cast<uint16_t*>(scratch);
  const int64_t x_stride = padded_inputs(w.k);
  for (int n = n_begin; n < n_end; n += kPromptPanel) {
    const int columns = std::min(kPromptPanel, n_end - n);
    for (int k = 0; k < w.k; k += kStretch) {
      const int count = std::min(kStretch, w.k - k);
      const bool last = k + count == w.k;
      PromptStretch s{rows + k,
                      x_stride,
                      panel,
                      padded_inputs(count),
                      padded_inputs(count) / kPairs,
                      k == 0,
                      last && bias ? bias + n : nullptr,
                      y + n,
                      y_stride};
      if (read_in_place(w)) {
        s.w = static_cast<const uint16_t*>(w.data) + static_cast<size_t>(n) * w.k + k;
        s.w_stride = w.k;
      } else {
        for (int i = 0; i < columns; ++i) {
          expand_stretch(w, n + i, k, count, panel + i * s.w_stride);
        }
      }
      stretch_panel(s, m_count, columns);
    }
  }
}
