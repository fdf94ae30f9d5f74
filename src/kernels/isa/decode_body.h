// Part of body.h: rows of 8-bit activations times quantised weights, in exact integers by block.
//
// A block is 64 inputs, or a group where groups are smaller. An activation row is kept as one
// float scale and signed bytes for each block. The order of a sum, alike in all variants and for
// any number of rows: block b's products make one integer; turned to float it is added to lane
// b mod 16, times its two scales, by a fused multiply-add; the group's bias, times the sum of the
// block's activations, follows in the same way; after the last block the lanes are added.
//
// A variant brings `Bytes`, 64 unsigned bytes: load(p, n) of n and zeros, low_nibbles,
// high_nibbles, spread_bits<bits>: 8 values as the bytes of a number, prefetch, prefetch_beside;
// `Ints`, 16 integers, zero at first; dots(bytes, signed bytes...): the sums of the products of 4
// neighbours each; and block_sums<n>(chunks): of n neighbours among those of n chunks, as floats.

constexpr int kChunkBytes = 64;

template <int kBits>
constexpr int kChunkInputs = kBits == 4 ? 128 : 64;

struct DecodeShape {
  int block = 64;
  int blocks = 0;
  int blocks_per_group = 1;
  int groups = 0;
  int bytes = 0;  // of the activations, whole chunks

  explicit DecodeShape(const WeightRows& w)
      : block(std::min(w.group_size, 64)),
        blocks(w.k / block),
        blocks_per_group(w.group_size / block),
        groups(w.k / w.group_size) {
    const int chunk = w.bits == 4 ? kChunkInputs<4> : kChunkInputs<8>;
    bytes = (w.k + chunk - 1) / chunk * chunk;
  }
  // Whether a block has a scale and a bias of 16 bits each.
  bool has_plain_values(const WeightRows& w) const {
    return blocks_per_group == 1 && w.dtype != Float::kF32;
  }
  int padded_blocks() const { return (blocks + kLanes16 - 1) / kLanes16 * kLanes16; }
  size_t row_bytes() const {
    const size_t floats = 2 * static_cast<size_t>(padded_blocks());
    return (static_cast<size_t>(bytes) + floats * sizeof(float) + 63) / 64 * 64;
  }
};

// What prepare_decode_row writes: bytes, then the scale of each block, then scale * sum of bytes.
struct DecodeRow {
  const int8_t* bytes = nullptr;
  const float* scales = nullptr;
  const float* sums = nullptr;

  DecodeRow() = default;
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

// 16 blocks' scales (or biases) of a column, zero past the last: where a block is a part of a
// group, or they are float32.
Vec16 rare_block_values(const WeightRows& w, const void* values, size_t index, int count,
                        int blocks_per_group) {
  float wide[kLanes16] = {};
  for (int i = 0; i < count; ++i) {
    wide[i] = float_at(values, w.dtype, index + static_cast<size_t>(i / blocks_per_group));
  }
  return Vec16::load(wide);
}

// The same in general; `index` is that of the column's first group.
Vec16 block_values(const WeightRows& w, const void* values, size_t index, int first,
                   const DecodeShape& shape) {
  const int count = std::min(kLanes16, shape.blocks - first);
  if (!shape.has_plain_values(w)) {
    const int group = first / shape.blocks_per_group;
    return rare_block_values(w, values, index + static_cast<size_t>(group), count,
                             shape.blocks_per_group);
  }
  const auto* halves = static_cast<const uint16_t*>(values) + index + first;
  Bytes::prefetch_beside(halves);
  return Vec16::load_half(halves, w.dtype, count);
}

// 64 weights of fewer than 8 bits as bytes.
template <int kBits, class B = Bytes>
void spread_bytes(const uint8_t* packed, int inputs, uint8_t* bytes) {
  if constexpr (requires { B::template spread_64<kBits>(packed, bytes); }) {
    if (inputs == 64) return B::template spread_64<kBits>(packed, bytes);
  }
  for (int i = 0; i < inputs; i += 8, packed += kBits) {
    const uint64_t spread = Bytes::spread_bits<kBits>(read_stream<kBits>(packed));
    std::memcpy(bytes + i, &spread, 8);
  }
}

// One chunk of a weight row, whose dot products with rows of activations are wanted.
template <int kBits>
struct Chunk {
  Bytes low;
  Bytes high;  // 4 bits only

  // `count` inputs.
  template <class Count>
  void load(const uint8_t* packed, Count count) {
    Bytes::prefetch(packed);
    if constexpr (kBits == 4) {
      const Bytes both = Bytes::load(packed, count / 2);
      low = both.low_nibbles();
      high = both.high_nibbles();
    } else if constexpr (kBits == 8) {
      low = Bytes::load(packed, count);
    } else {
      alignas(64) uint8_t bytes[kChunkBytes] = {};
      spread_bytes<kBits>(packed, count, bytes);
      low = Bytes::load(bytes, kChunkBytes);
    }
  }
  Ints dots(const int8_t* x) const {
    if constexpr (kBits == 4) {
      return Bytes::dots(low, x, high, x + kChunkBytes);
    } else {
      return Bytes::dots(low, x);
    }
  }
};

// Calls f(0), f(1), ... with constants, so that what they index can stay in registers.
template <int kCount, class F>
void unrolled(F f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    (f(std::integral_constant<int, kIndex>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

// Calls f(bits, lanes) with constants: a block has so many of a chunk's 16 sums, and so 16 blocks
// have as many chunks.
template <class F>
void with_blocks(const WeightRows& w, const DecodeShape& shape, F f) {
  with_bits(w.bits, [&](auto bits) {
    constexpr int kInputs = kChunkInputs<bits()> / kLanes16;
    if (shape.block == 64) return f(bits, std::integral_constant<int, 64 / kInputs>());
    return f(bits, std::integral_constant<int, 32 / kInputs>());
  });
}

// The products of M rows, from input `at` on, with a column's weights of 16 blocks, or of the
// `left` inputs that are left.
template <int M, int kBits, int kPerBlock>
void block_products(const DecodeRow* rows, int at, const uint8_t* packed, int left,
                    Vec16 products[M]) {
  constexpr int kInputs = kChunkInputs<kBits>;
  const int8_t* x[M];
  unrolled<M>([&](auto m) { x[m] = rows[m].bytes + at; });
  Ints dots[M][kPerBlock];
  const auto step = [&](auto c, auto count) {
    Chunk<kBits> chunk;
    chunk.load(packed + c * (kInputs * kBits / 8), count);
    unrolled<M>([&](auto m) { dots[m][c] = chunk.dots(x[m] + c * kInputs); });
  };
  constexpr auto kWhole = std::integral_constant<int, kInputs>();
  if (left >= kPerBlock * kInputs) {
    unrolled<kPerBlock>([&](auto c) { step(c, kWhole); });
  } else {
    unrolled<kPerBlock>([&](auto c) {
      const int rest = left - c * kInputs;
      if (rest >= kInputs) return step(c, kWhole);
      if (rest > 0) step(c, std::min(rest, kInputs));
    });
  }
  unrolled<M>([&](auto m) { products[m] = Bytes::block_sums<kPerBlock>(dots[m]); });
}

template <int M, int kBits, int kPerBlock>
void decode_column(const DecodeRow* rows, const WeightRows& w, const DecodeShape& shape, int column,
                   float out[M]) {
  const size_t group = static_cast<size_t>(column) * static_cast<size_t>(shape.groups);
  const uint8_t* packed = packed_row(w, column);
  Vec16 sums[M];
  unrolled<M>([&](auto m) { sums[m] = Vec16::zero(); });
  for (int first = 0; first < shape.blocks; first += kLanes16) {
    const Vec16 scales = block_values(w, w.scales, group, first, shape);
    const Vec16 biases = block_values(w, w.biases, group, first, shape);
    const int at = first * shape.block;
    Vec16 products[M];
    block_products<M, kBits, kPerBlock>(rows, at, packed, w.k - at, products);
    packed += kPerBlock * kChunkInputs<kBits> * kBits / 8;
    unrolled<M>([&](auto m) {
      const Vec16 scale = scales * Vec16::load(rows[m].scales + first);
      sums[m] = Vec16::fma(products[m], scale, sums[m]);
      sums[m] = Vec16::fma(biases, Vec16::load(rows[m].sums + first), sums[m]);
    });
  }
  unrolled<M>([&](auto m) { out[m] = sums[m].sum(); });
}

template <int M, int kBits, int kPerBlock>
void decode_columns(const DecodeRow* rows, const WeightRows& w, const DecodeShape& shape,
                    int n_begin, int n_end, const float* bias, float* y, int64_t y_stride) {
  for (int n = n_begin; n < n_end; ++n) {
    float sums[M];
    decode_column<M, kBits, kPerBlock>(rows, w, shape, n, sums);
    for (int m = 0; m < M; ++m) y[m * y_stride + n] = bias ? sums[m] + bias[n] : sums[m];
  }
}

void decode_product(const std::byte* x, int m_count, const WeightRows& w, int n_begin, int n_end,
                    const float* bias, float* y, int64_t y_stride) {
  const DecodeShape shape(w);
  const size_t stride = shape.row_bytes();
  constexpr int kColumns = 16;  // stay in the first-level cache while all rows pass
  with_blocks(w, shape, [&](auto bits, auto per_block) {
    for (int n = n_begin; n < n_end; n += kColumns) {
      const int end = std::min(n + kColumns, n_end);
      int m = 0;
      const auto pass = [&](auto count) {
        DecodeRow rows[count()];
        for (int i = 0; i < count; ++i) rows[i] = {x + static_cast<size_t>(m + i) * stride, shape};
        decode_columns<count(), bits(), per_block()>(rows, w, shape, n, end, bias, y + m * y_stride,
                                                     y_stride);
        m += count;
      };
      while (m_count - m >= 3) pass(std::integral_constant<int, 3>());
      if (m_count - m == 2) pass(std::integral_constant<int, 2>());
      if (m_count - m == 1) pass(std::integral_constant<int, 1>());
    }
  });
}
