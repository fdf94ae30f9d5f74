// Part of body.h: weights as floats, and products of few float rows with those that are not
// quantised.

// A float without a sign, its exponent and fraction in the last bits of `magnitude`: put where a
// float32 has them, it is too small by a power of two, those below the least exponent too.
float small_float(uint32_t magnitude, int fraction_bits, float power) {
  float value;
  magnitude <<= 23 - fraction_bits;
  std::memcpy(&value, &magnitude, sizeof(value));
  return value * power;
}

float from_e4m3(uint8_t byte) {
  const uint32_t magnitude = byte & 127;
  const float value = magnitude == 127 ? std::numeric_limits<float>::quiet_NaN()
                                       : small_float(magnitude, 3, 0x1p120f);
  return byte & 128 ? -value : value;
}

float from_e2m1(uint32_t nibble) {
  const float value = small_float(nibble & 7, 1, 0x1p126f);
  return nibble & 8 ? -value : value;
}

// 2 to the byte - 127; 255 is infinite, as MLX has it.
float from_e8m0(uint8_t byte) {
  const uint32_t bits = byte == 0 ? 0x400000u : uint32_t{byte} << 23;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float float_at(const void* data, Float dtype, size_t index) {
  const auto* bytes = static_cast<const char*>(data);
  if (dtype == Float::kE8M0) return from_e8m0(static_cast<uint8_t>(bytes[index]));
  if (dtype == Float::kE4M3) return from_e4m3(static_cast<uint8_t>(bytes[index]));
  if (dtype == Float::kF32) {
    float value;
    std::memcpy(&value, bytes + index * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes + index * 2, 2);
  return dtype == Float::kBF16 ? Vec::from_bf16(half) : Vec::from_f16(half);
}

size_t value_bits(const WeightRows& w) {
  if (w.bits != 0) return static_cast<size_t>(w.bits);
  return w.dtype == Float::kF32 ? 32 : w.dtype == Float::kI8 ? 8 : 16;
}

// kBits bytes as a number, without reading beyond them and without a detour through memory.
template <int kBits>
uint64_t read_stream(const uint8_t* bytes) {
  uint64_t stream = 0;
  int at = 0;
  const auto take = [&](auto part) {
    std::memcpy(&part, bytes + at, sizeof(part));
    stream |= static_cast<uint64_t>(part) << (8 * at);
    at += static_cast<int>(sizeof(part));
  };
  if constexpr (kBits >= 4) take(uint32_t{});
  if constexpr (kBits % 4 >= 2) take(uint16_t{});
  if constexpr (kBits % 2 == 1) take(uint8_t{});
  return stream;
}

// 8 consecutive values of kBits each: a little-endian bit stream, so they fill kBits bytes.
template <int kBits>
Vec load_packed(const uint8_t* bytes) {
  if constexpr (kBits == 4) {
    return Vec::load_nibbles(bytes);
  } else if constexpr (kBits == 8) {
    return Vec::load_bytes(bytes);
  } else {
    return Vec::split<kBits>(read_stream<kBits>(bytes));
  }
}

const uint8_t* packed_row(const WeightRows& w, int row) {
  return static_cast<const uint8_t*>(w.data) + static_cast<size_t>(row) * w.k * w.bits / 8;
}

// Inputs [begin, begin + count) of a row, both multiples of the group size.
template <int kBits>
void expand_groups(const WeightRows& w, int row, int begin, int count, float* out) {
  const size_t first = static_cast<size_t>(row) * (w.k / w.group_size) + begin / w.group_size;
  const uint8_t* bytes = packed_row(w, row) + static_cast<size_t>(begin) * kBits / 8;
  for (int g = 0; g < count / w.group_size; ++g) {
    const Vec scale = Vec::set1(float_at(w.scales, w.dtype, first + g));
    const Vec bias = Vec::set1(float_at(w.biases, w.dtype, first + g));
    for (int i = 0; i < w.group_size; i += kLanes) {
      Vec::fma(load_packed<kBits>(bytes), scale, bias).store(out);
      bytes += kBits;
      out += kLanes;
    }
  }
}

// The same of values that are floats.
void expand_float_groups(const WeightRows& w, int row, int begin, int count, float* out) {
  const size_t first = static_cast<size_t>(row) * (w.k / w.group_size) + begin / w.group_size;
  const uint8_t* bytes = packed_row(w, row) + static_cast<size_t>(begin) * w.bits / 8;
  for (int g = 0; g < count / w.group_size; ++g) {
    const float scale = float_at(w.scales, w.dtype, first + g);
    if (w.bits == 4) {
      for (int i = 0; i < w.group_size / 2; ++i) {
        out[2 * i] = from_e2m1(bytes[i] & 15) * scale;
        out[2 * i + 1] = from_e2m1(bytes[i] >> 4) * scale;
      }
    } else {
      for (int i = 0; i < w.group_size; ++i) out[i] = from_e4m3(bytes[i]) * scale;
    }
    bytes += w.group_size * w.bits / 8;
    out += w.group_size;
  }
}

// Calls f with the width as a constant. Widths are checked before they come here.
template <class F>
void with_bits(int bits, F f) {
  switch (bits) {
    case 2:
      return f(std::integral_constant<int, 2>());
    case 3:
      return f(std::integral_constant<int, 3>());
    case 4:
      return f(std::integral_constant<int, 4>());
    case 5:
      return f(std::integral_constant<int, 5>());
    case 6:
      return f(std::integral_constant<int, 6>());
    default:
      return f(std::integral_constant<int, 8>());
  }
}

void expand_half(const uint16_t* row, bool bf16, int k, float* out) {
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    (bf16 ? Vec::load_bf16(row + i) : Vec::load_f16(row + i)).store(out + i);
  }
  if (i == k) return;
  uint16_t tail[kLanes] = {};
  std::memcpy(tail, row + i, static_cast<size_t>(k - i) * 2);
  (bf16 ? Vec::load_bf16(tail) : Vec::load_f16(tail)).store_partial(out + i, k - i);
}

// Inputs [begin, begin + count) of a row; both are multiples of the group size where there are
// groups.
void expand_inputs(const WeightRows& w, int row, int begin, int count, float* out) {
  if (w.floats) return expand_float_groups(w, row, begin, count, out);
  if (w.bits != 0) {
    with_bits(w.bits, [&](auto bits) { expand_groups<bits()>(w, row, begin, count, out); });
    return;
  }
  const size_t at = static_cast<size_t>(row) * w.k + static_cast<size_t>(begin);
  if (w.dtype == Float::kF32) {
    std::memcpy(out, static_cast<const char*>(w.data) + at * 4, static_cast<size_t>(count) * 4);
    return;
  }
  const auto* half = reinterpret_cast<const uint16_t*>(static_cast<const char*>(w.data) + at * 2);
  expand_half(half, w.dtype == Float::kBF16, count, out);
}

void expand_row(const WeightRows& w, int row, float* out) { expand_inputs(w, row, 0, w.k, out); }

// The order of every sum: one chain of fused multiply-adds over K in each of 8 lanes, then the
// lanes. Tiles of any shape and weights of any origin follow it, so they give the same bits.
template <int M, int N>
struct Sums {
  Vec v[M][N];

  Sums() {
    for (int m = 0; m < M; ++m) {
      for (int n = 0; n < N; ++n) v[m][n] = Vec::zero();
    }
  }
  void add(const Vec rows[M], int n, Vec column) {
    for (int m = 0; m < M; ++m) v[m][n] = Vec::fma(rows[m], column, v[m][n]);
  }
  void store(float out[M][N]) const {
    for (int m = 0; m < M; ++m) {
      if constexpr (N == 4) {
        Vec::sums(v[m], out[m]);
      } else {
        for (int n = 0; n < N; ++n) out[m][n] = v[m][n].sum();
      }
    }
  }
};

template <int M, int N>
void tile(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int k,
          float out[M][N]) {
  Sums<M, N> sums;
  const auto step = [&](int i, auto load) {
    Vec rows[M];
    for (int m = 0; m < M; ++m) rows[m] = load(x + m * x_stride + i);
    for (int n = 0; n < N; ++n) sums.add(rows, n, load(w + n * w_stride + i));
  };
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) step(i, [](const float* p) { return Vec::load(p); });
  if (i < k) step(i, [&](const float* p) { return Vec::load_partial(p, k - i); });
  sums.store(out);
}

// The same for 16-bit weights that are used once: they go straight from memory into registers.
template <int M, int N>
void half_tile(const float* x, const WeightRows& w, int column, float out[M][N]) {
  Sums<M, N> sums;
  const auto* data = static_cast<const char*>(w.data);
  const bool bf16 = w.dtype == Float::kBF16;
  const auto half = [&](int n, int i) {
    const size_t at = static_cast<size_t>(column + n) * w.k + i;
    return reinterpret_cast<const uint16_t*>(data + at * 2);
  };
  const auto run = [&](auto load_half) {
    int i = 0;
    for (; i + kLanes <= w.k; i += kLanes) {
      Vec rows[M];
      for (int m = 0; m < M; ++m) rows[m] = Vec::load(x + int64_t{m} * w.k + i);
      for (int n = 0; n < N; ++n) sums.add(rows, n, load_half(half(n, i)));
    }
    if (i == w.k) return;
    Vec rows[M];
    for (int m = 0; m < M; ++m) rows[m] = Vec::load_partial(x + int64_t{m} * w.k + i, w.k - i);
    for (int n = 0; n < N; ++n) {
      uint16_t tail[kLanes] = {};
      std::memcpy(tail, half(n, i), static_cast<size_t>(w.k - i) * 2);
      sums.add(rows, n, load_half(tail));
    }
  };
  if (bf16) {
    run([](const uint16_t* p) { return Vec::load_bf16(p); });
  } else {
    run([](const uint16_t* p) { return Vec::load_f16(p); });
  }
  sums.store(out);
}

template <int M, int N>
void write_tile(const float sums[M][N], const float* bias, float* y, int64_t y_stride) {
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) y[m * y_stride + n] = bias ? sums[m][n] + bias[n] : sums[m][n];
  }
}

template <int N>
void product_columns(const float* x, int m_count, int k, const float* w, const float* bias,
                     float* y, int64_t y_stride) {
  const auto rows = [&](int m, auto count) {
    float sums[count()][N];
    tile<count(), N>(x + int64_t{m} * k, k, w, k, k, sums);
    write_tile<count(), N>(sums, bias, y + m * y_stride, y_stride);
  };
  int m = 0;
  for (; m + 3 <= m_count; m += 3) rows(m, std::integral_constant<int, 3>());
  if (m_count - m == 2) rows(m, std::integral_constant<int, 2>());
  if (m_count - m == 1) rows(m, std::integral_constant<int, 1>());
}

// One or two rows: every weight is read once, so nothing is expanded into memory.
template <int M, int N>
void few_rows(const float* x, const WeightRows& w, int n, const float* bias, float* y,
              int64_t y_stride) {
  float sums[M][N];
  half_tile<M, N>(x, w, n, sums);
  write_tile<M, N>(sums, bias ? bias + n : nullptr, y + n, y_stride);
}

template <int M>
void product_few_rows(const float* x, const WeightRows& w, int n_begin, int n_end,
                      const float* bias, float* y, int64_t y_stride) {
  int n = n_begin;
  for (; n + 4 <= n_end; n += 4) few_rows<M, 4>(x, w, n, bias, y, y_stride);
  for (; n < n_end; ++n) few_rows<M, 1>(x, w, n, bias, y, y_stride);
}

// Columns [n, n + count) as floats times blocks of rows that stay in the second-level cache.
void product_panel(const float* x, int m_count, int k, const float* panel, int n, int count,
                   const float* bias, float* y, int64_t y_stride) {
  const int block = std::max(3, kRowBlockFloats / std::max(k, 1) / 3 * 3);
  for (int m = 0; m < m_count; m += block) {
    const int rows = std::min(block, m_count - m);
    const float* x_block = x + int64_t{m} * k;
    float* y_block = y + m * y_stride + n;
    for (int i = 0; i < count;) {
      const float* columns = panel + int64_t{i} * k;
      const float* add = bias ? bias + n + i : nullptr;
      if (i + 4 <= count) {
        product_columns<4>(x_block, rows, k, columns, add, y_block + i, y_stride);
        i += 4;
      } else {
        product_columns<1>(x_block, rows, k, columns, add, y_block + i, y_stride);
        ++i;
      }
    }
  }
}

void product(const float* x, int m_count, const WeightRows& w, int n_begin, int n_end,
             const float* bias, float* y, int64_t y_stride, float* scratch) {
  const bool floats = w.dtype == Float::kF32;
  if (floats && reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0) {
    const float* columns = static_cast<const float*>(w.data) + static_cast<size_t>(n_begin) * w.k;
    const int panel = panel_columns(w.k);
    for (int n = n_begin; n < n_end; n += panel) {
      const int count = std::min(panel, n_end - n);
      product_panel(x, m_count, w.k, columns, n, count, bias, y, y_stride);
      columns += int64_t{panel} * w.k;
    }
    return;
  }
  if (!floats && m_count == 1) {
    return product_few_rows<1>(x, w, n_begin, n_end, bias, y, y_stride);
  }
  if (!floats && m_count == 2) {
    return product_few_rows<2>(x, w, n_begin, n_end, bias, y, y_stride);
  }
  const int panel = panel_columns(w.k);
  for (int n = n_begin; n < n_end; n += panel) {
    const int count = std::min(panel, n_end - n);
    for (int i = 0; i < count; ++i) expand_row(w, n + i, scratch + int64_t{i} * w.k);
    product_panel(x, m_count, w.k, scratch, n, count, bias, y, y_stride);
  }
}
