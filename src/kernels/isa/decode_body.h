// Part of body.h: rows of 8-bit activations times quantised weights, in exact integers by block.
//
// A block is 64 inputs, or a group where groups are smaller. An activation row is kept as one
// float scale and signed bytes for each block. The order of a sum, alike in all variants: a chunk
// of 64 bytes of weights gives 16 integers, one for each lane; each is turned to float and added to
// its lane, times its block's scales, by a fused multiply-add; then the lanes. The groups' biases,
// times the sums of the activations, are summed in 16 lanes of their own, a block in each.
//
// A variant brings `Bytes`, 64 unsigned bytes: load(p, n) of n and zeros, low_nibbles,
// high_nibbles, spread_bits<bits>: 8 values as the bytes of a number, prefetch, and dots(bytes,
// signed bytes...): exact sums of the products of 4 neighbours each, as floats.

constexpr int kChunkBytes = 64;

template <int kBits>
constexpr int kChunkInputs = kBits == 4 ? 128 : 64;

struct DecodeShape {
  int block = 64;
  int blocks = 0;
  int bytes = 0;  // of the activations, whole chunks

  explicit DecodeShape(const WeightRows& w)
      : block(std::min(w.group_size, 64)), blocks(w.k / block) {
    const int chunk = w.bits == 4 ? kChunkInputs<4> : kChunkInputs<8>;
    bytes = (w.k + chunk - 1) / chunk * chunk;
  }
  int padded_blocks() const { return (blocks + kLanes16 - 1) / kLanes16 * kLanes16; }
  size_t row_bytes() const {
    const size_t floats = 2 * static_cast<size_t>(padded_blocks());
    return (static_cast<size_t>(bytes) + floats * sizeof(float) + 63) / 64 * 64;
  }
};

// What prepare_decode_row writes: bytes, then the scale of each block, then scale * sum of bytes.
struct DecodeRow {
  const int8_t* bytes;
  const float* scales;
  const float* sums;

  DecodeRow(const std::byte* row, const DecodeShape& shape)
      : bytes(reinterpret_cast<const int8_t*>(row)),
        scales(reinterpret_cast<const float*>(row + shape.bytes)),
        sums(scales + shape.padded_blocks()) {}
};

size_t decode_row_bytes(const WeightRows& w) { return DecodeShape(w).row_bytes(); }

// A block with a value that is not finite gets the scale NaN, and so do the products.
float block_scale(const float* x, int count) {
  uint32_t largest = 0;
  for (int i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    largest = std::max(largest, bits & 0x7fffffffu);
  }
  if (largest >= 0x7f800000u) return std::numeric_limits<float>::quiet_NaN();
  float value;
  std::memcpy(&value, &largest, sizeof(value));
  return value / 127;
}

// A block as signed bytes; 4-bit weights keep two neighbours in a byte, so there the inputs with
// even numbers stand in the first half of a chunk and those with odd ones in the second.
template <bool kNibbles>
int quantize_block(const float* x, int count, int at, float inverse, int8_t* bytes) {
  int8_t q[64];
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    const int value = static_cast<int>(std::nearbyint(x[i] * inverse));
    q[i] = static_cast<int8_t>(value);
    sum += value;
  }
  if constexpr (kNibbles) {
    int8_t* even = bytes + at / 128 * 128 + at % 128 / 2;
    for (int i = 0; i < count / 2; ++i) even[i] = q[2 * i];
    for (int i = 0; i < count / 2; ++i) even[i + 64] = q[2 * i + 1];
  } else {
    std::memcpy(bytes + at, q, static_cast<size_t>(count));
  }
  return sum;
}

void prepare_decode_row(const float* x, const WeightRows& w, std::byte* row) {
  const DecodeShape shape(w);
  auto* bytes = reinterpret_cast<int8_t*>(row);
  auto* scales = reinterpret_cast<float*>(row + shape.bytes);
  float* sums = scales + shape.padded_blocks();
  std::memset(row, 0, shape.row_bytes());
  for (int b = 0; b < shape.blocks; ++b) {
    const int at = b * shape.block;
    const float scale = block_scale(x + at, shape.block);
    scales[b] = sums[b] = scale;
    if (std::isnan(scale)) continue;
    // Values so small that their inverse has no float are nothing beside any other block.
    const float inverse = scale > 1e-30f ? 1 / scale : 0;
    const auto quantize = w.bits == 4 ? quantize_block<true> : quantize_block<false>;
    sums[b] = scale * static_cast<float>(quantize(x + at, shape.block, at, inverse, bytes));
  }
}

// 16 blocks' scales (or biases) of a weight row, zero past the last.
Vec16 block_values(const WeightRows& w, const void* values, int row, int first,
                   const DecodeShape& shape) {
  const int count = std::min(kLanes16, shape.blocks - first);
  const int per_group = w.group_size / shape.block;
  const size_t index = static_cast<size_t>(row) * (w.k / w.group_size) + first / per_group;
  if (per_group == 1 && w.dtype != Float::kF32) {
    return Vec16::load_half(static_cast<const uint16_t*>(values) + index, w.dtype, count);
  }
  float wide[kLanes16] = {};
  for (int i = 0; i < count; ++i) wide[i] = float_at(values, w.dtype, index + i / per_group);
  return Vec16::load(wide);
}

// 64 weights of fewer than 8 bits as bytes.
template <int kBits>
void spread_bytes(const uint8_t* packed, int inputs, uint8_t* bytes) {
  for (int i = 0; i < inputs; i += 8, packed += kBits) {
    const uint64_t spread = Bytes::spread_bits<kBits>(read_stream<kBits>(packed));
    std::memcpy(bytes + i, &spread, 8);
  }
}

// The dot products of one chunk of a weight row with one row of activations.
template <int kBits>
struct Chunk {
  Bytes low;
  Bytes high;  // 4 bits only

  // `count` inputs of the row, from number `at` on.
  template <class Count>
  void load(const uint8_t* row, int at, Count count) {
    Bytes::prefetch(row + static_cast<size_t>(at) * kBits / 8);
    if constexpr (kBits == 4) {
      const Bytes both = Bytes::load(row + at / 2, count / 2);
      low = both.low_nibbles();
      high = both.high_nibbles();
    } else if constexpr (kBits == 8) {
      low = Bytes::load(row + at, count);
    } else {
      alignas(64) uint8_t bytes[kChunkBytes] = {};
      spread_bytes<kBits>(row + static_cast<size_t>(at) * kBits / 8, count, bytes);
      low = Bytes::load(bytes, kChunkBytes);
    }
  }
  Vec16 dots(const int8_t* x) const {
    if constexpr (kBits == 4) {
      return Bytes::dots(low, x, high, x + kChunkBytes);
    } else {
      return Bytes::dots(low, x);
    }
  }
};

// The groups' biases times the sums of the activations.
template <int M, int N>
void bias_sums(const DecodeRow* rows, const WeightRows& w, const DecodeShape& shape, int column,
               float out[M][N]) {
  Vec16 sums[M][N];
  for (int m = 0; m < M; ++m) std::fill(sums[m], sums[m] + N, Vec16::zero());
  for (int first = 0; first < shape.blocks; first += kLanes16) {
    for (int n = 0; n < N; ++n) {
      const Vec16 bias = block_values(w, w.biases, column + n, first, shape);
      for (int m = 0; m < M; ++m) {
        sums[m][n] = Vec16::fma(bias, Vec16::load(rows[m].sums + first), sums[m][n]);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) out[m][n] = sums[m][n].sum();
  }
}

// Calls f(0), f(1), ... with constants, so that what they index can stay in registers.
template <int kCount, class F>
void unrolled(F f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    (f(std::integral_constant<int, kIndex>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

template <int M, int N, int kBits>
void decode_tile(const DecodeRow* rows, const WeightRows& w, const DecodeShape& shape, int column,
                 float out[M][N]) {
  constexpr int chunk = kChunkInputs<kBits>;
  const int blocks_per_chunk = chunk / shape.block;
  Vec16 sums[M][N];
  unrolled<M>([&](auto m) { unrolled<N>([&](auto n) { sums[m][n] = Vec16::zero(); }); });
  for (int first = 0; first < shape.blocks; first += kLanes16) {
    Vec16 scales[M][N];
    unrolled<N>([&](auto n) {
      const Vec16 scale = block_values(w, w.scales, column + n, first, shape);
      unrolled<M>([&](auto m) { scales[m][n] = scale * Vec16::load(rows[m].scales + first); });
    });
    auto spread = Vec16::spread_start(kLanes16 / blocks_per_chunk);
    const auto step = [&](int at, auto count) {
      Chunk<kBits> weights[N];
      unrolled<N>([&](auto n) { weights[n].load(packed_row(w, column + n), at, count); });
      unrolled<M>([&](auto m) {
        unrolled<N>([&](auto n) {
          sums[m][n] = Vec16::fma(weights[n].dots(rows[m].bytes + at), scales[m][n].spread(spread),
                                  sums[m][n]);
        });
      });
      spread = Vec16::spread_next(spread, blocks_per_chunk);
    };
    int at = first * shape.block;
    const int end = std::min(at + kLanes16 * shape.block, w.k);
    for (; at + chunk <= end; at += chunk) step(at, std::integral_constant<int, chunk>());
    if (at < end) step(at, end - at);
  }
  bias_sums<M, N>(rows, w, shape, column, out);
  unrolled<M>(
      [&](auto m) { unrolled<N>([&](auto n) { out[m][n] = sums[m][n].sum() + out[m][n]; }); });
}

template <int M, int kBits>
void decode_rows(const DecodeRow* rows, const WeightRows& w, const DecodeShape& shape, int n_begin,
                 int n_end, const float* bias, float* y, int64_t y_stride) {
  const auto columns = [&](int n, auto count) {
    float sums[M][count()];
    decode_tile<M, count(), kBits>(rows, w, shape, n, sums);
    write_tile<M, count()>(sums, bias ? bias + n : nullptr, y + n, y_stride);
  };
  // What a tile holds must fit the registers.
  constexpr int kTile = M > 2 ? 2 : 4;
  int n = n_begin;
  for (; n + kTile <= n_end; n += kTile) columns(n, std::integral_constant<int, kTile>());
  for (; n < n_end; ++n) columns(n, std::integral_constant<int, 1>());
}

void decode_product(const std::byte* x, int m_count, const WeightRows& w, int n_begin, int n_end,
                    const float* bias, float* y, int64_t y_stride) {
  const DecodeShape shape(w);
  const size_t stride = shape.row_bytes();
  constexpr int kColumns = 16;  // stay in the first-level cache while all rows pass
  with_bits(w.bits, [&](auto bits) {
    for (int n = n_begin; n < n_end; n += kColumns) {
      const int end = std::min(n + kColumns, n_end);
      for (int m = 0; m < m_count;) {
        const std::byte* row = x + static_cast<size_t>(m) * stride;
        const auto pass = [&](auto count) {
          const DecodeRow rows[4] = {{row, shape},
                                     {row + (count() > 1 ? stride : 0), shape},
                                     {row + (count() > 2 ? 2 * stride : 0), shape},
                                     {row + (count() > 3 ? 3 * stride : 0), shape}};
          decode_rows<count(), bits()>(rows, w, shape, n, end, bias, y + m * y_stride, y_stride);
          m += count();
        };
        switch (m_count - m) {
          case 1:
            pass(std::integral_constant<int, 1>());
            break;
          case 2:
            pass(std::integral_constant<int, 2>());
            break;
          case 3:
            pass(std::integral_constant<int, 3>());
            break;
          default:
            pass(std::integral_constant<int, 4>());
        }
      }
    }
  });
}
