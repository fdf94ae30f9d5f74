// Part of amx.cpp: decode products of many rows, with the bits of decode_body.h. 16 weight rows, a
// byte for each input, times 16 rows of activations give the integers of a block in one tile
// product: that sum is exact, whatever its order. What follows, lane by lane, is decode_body.h's.
//
// Weights are spread to bytes once for all rows of a pass; rows of activations are turned, so that
// a row of a tile holds 4 inputs of each of 16. Rows and blocks that are missing are zeros.

constexpr int kTileDecodeRowsMin = 8;  // below, the dot products of avx512 cost less
constexpr int kTileDecodePass = 2;     // tiles of rows that share the spreading
constexpr int kTurnedBytes = 256 * 1024;
constexpr int kBlocksInFlight = 4;

// Blocks [first, first + 16) of 16 weight rows.
struct alignas(64) SpreadWeights {
  uint8_t bytes[kLanes16][kTileRows][kTileRowBytes];  // block, row
  float scales[kTileRows][kLanes16];
  float biases[kTileRows][kLanes16];
};

// Rows of activations as a pass takes them: for each 16 rows and block a tile, and the scales and
// sums of the 16 rows.
struct TurnedRows {
  std::byte* memory;
  int padded_blocks;

  static constexpr int kBlockBytes = kTileBytes + 2 * kTileRowBytes;
  std::byte* tile(int row_tile, int block) const {
    return memory + (int64_t{row_tile} * padded_blocks + block) * kBlockBytes;
  }
  float* scales(int row_tile, int block) const {
    return reinterpret_cast<float*>(tile(row_tile, block) + kTileBytes);
  }
  float* sums(int row_tile, int block) const { return scales(row_tile, block) + kTileRows; }
};

// A block's bytes of a row, in the order in which the weights' are spread: of 4-bit weights, first
// the inputs with even numbers.
void copy_block(const DecodeRow& row, const DecodeShape& shape, bool nibbles, int block,
                std::byte* to) {
  if (!nibbles) {
    std::memcpy(to, row.bytes + block * shape.block, static_cast<size_t>(shape.block));
    return;
  }
  const int at = block * shape.block;
  const int half = shape.block / 2;
  const int8_t* even = row.bytes + at / 128 * 128 + at % 128 / 2;
  std::memcpy(to, even, static_cast<size_t>(half));
  std::memcpy(to + half, even + kChunkBytes, static_cast<size_t>(half));
}

// Turns `count` rows, at most 16, of blocks [first, first + 16).
void turn_blocks(const DecodeRow* rows, int count, const DecodeShape& shape, bool nibbles,
                 int first, const TurnedRows& turned, int row_tile) {
  alignas(64) std::byte bytes[kTileRows][kTileRowBytes] = {};
  const auto turn = [&](auto load, std::byte* to, int64_t stride) {
    __m512i r[kTileRows];
    for (int i = 0; i < kTileRows; ++i) r[i] = i < count ? load(i) : _mm512_setzero_si512();
    transpose(r);
    for (int i = 0; i < kTileRows; ++i) _mm512_store_si512(to + i * stride, r[i]);
  };
  for (int b = first; b < std::min(first + kLanes16, shape.blocks); ++b) {
    for (int i = 0; i < count; ++i) copy_block(rows[i], shape, nibbles, b, bytes[i]);
    turn([&](int i) { return _mm512_load_si512(bytes[i]); }, turned.tile(row_tile, b),
         kTileRowBytes);
  }
  const auto values = [&](const float* DecodeRow::*which) {
    return [&rows, which, first](int i) { return _mm512_loadu_si512(rows[i].*which + first); };
  };
  turn(values(&DecodeRow::scales), turned.tile(row_tile, first) + kTileBytes,
       TurnedRows::kBlockBytes);
  turn(values(&DecodeRow::sums), turned.tile(row_tile, first) + kTileBytes + kTileRowBytes,
       TurnedRows::kBlockBytes);
}

// A block of a weight row as bytes.
template <int kBits>
void spread_block(const uint8_t* packed, int block, uint8_t* to) {
  if constexpr (kBits == 4) {
    const __m256i mask = _mm256_set1_epi8(15);
    if (block == 64) {
      const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed));
      const __m256i odd = _mm256_srli_epi16(both, 4);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm256_and_si256(both, mask));
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + 32), _mm256_and_si256(odd, mask));
    } else {
      const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed));
      const __m256i halves = _mm256_set_m128i(_mm_srli_epi16(both, 4), both);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm256_and_si256(halves, mask));
    }
  } else if constexpr (kBits == 8) {
    std::memcpy(to, packed, static_cast<size_t>(block));
  } else {
    spread_bytes<kBits>(packed, block, to);
  }
}

// Blocks [first, first + count) of `rows` weight rows from n on; asks for what comes next.
template <int kBits>
void spread_weights(const WeightRows& w, const DecodeShape& shape, int n, int rows, int first,
                    SpreadWeights& out) {
  const int count = std::min(kLanes16, shape.blocks - first);
  const int at = first * shape.block;
  const int next = at + count * shape.block;
  const bool last = next == w.k;
  for (int i = 0; i < rows; ++i) {
    const uint8_t* packed = packed_row(w, n + i) + static_cast<size_t>(at) * kBits / 8;
    for (int b = 0; b < count; ++b, packed += shape.block * kBits / 8) {
      spread_block<kBits>(packed, shape.block, out.bytes[b][i]);
    }
    const size_t group = static_cast<size_t>(n + i) * static_cast<size_t>(shape.groups);
    block_values(w, w.scales, group, first, shape).store(out.scales[i]);
    block_values(w, w.biases, group, first, shape).store(out.biases[i]);
    fetch_inputs(w, n + i + (last ? kTileRows : 0), last ? 0 : next,
                 std::min(kLanes16 * shape.block, last ? w.k : w.k - next));
  }
}

// decode_body.h's lanes of 16 weight rows by 16 rows of activations.
struct alignas(64) TileLanes {
  float sums[kLanes16][kTileRows][kTileRows];  // lane, weight row, row

  // Adds the integers of block first + lane.
  void add(const int32_t (*integers)[kTileRows], const SpreadWeights& w, int lane,
           const float* row_scales, const float* row_sums, bool is_first) {
    const Vec16 x_scales = Vec16::load(row_scales);
    const Vec16 x_sums = Vec16::load(row_sums);
    for (int i = 0; i < kTileRows; ++i) {
      const Vec16 before = is_first ? Vec16::zero() : Vec16::load(sums[lane][i]);
      const Vec16 product = {_mm512_cvtepi32_ps(_mm512_load_si512(integers[i]))};
      const Vec16 scale = Vec16::set1(w.scales[i][lane]) * x_scales;
      const Vec16 sum = Vec16::fma(product, scale, before);
      Vec16::fma(Vec16::set1(w.biases[i][lane]), x_sums, sum).store(sums[lane][i]);
    }
  }
  // As Vec16::sum() sums them.
  Vec16 sum(int i) const {
    const auto pair = [&](int lane) {
      return Vec16::load(sums[lane][i]) + Vec16::load(sums[lane + kLanes][i]);
    };
    return ((pair(0) + pair(4)) + (pair(2) + pair(6))) +
           ((pair(1) + pair(5)) + (pair(3) + pair(7)));
  }
};

// The integers of some blocks, several tiles at a time, so that one waits for its sums while the
// next is multiplied.
template <class Tiles>
void tile_blocks(const SpreadWeights& w, const TurnedRows& rows, int row_tile, int first, int count,
                 TileLanes& lanes) {
  alignas(64) int32_t integers[kBlocksInFlight][kTileRows][kTileRows];
  for (int b = 0; b < count; b += kBlocksInFlight) {
    unrolled<kBlocksInFlight>([&](auto i) {
      if (b + i >= count) return;
      constexpr int kA = 4 + i() % 2;
      constexpr int kB = 6 + i() % 2;
      Tiles::template zero<i()>();
      Tiles::template load<kA>(w.bytes[b + i], kTileRowBytes);
      Tiles::template load<kB>(rows.tile(row_tile, first + b + i), kTileRowBytes);
      Tiles::template multiply_bytes<i(), kA, kB>();
      Tiles::template store<i()>(integers[i], kTileRowBytes);
    });
    for (int i = 0; i < kBlocksInFlight && b + i < count; ++i) {
      const int block = first + b + i;
      lanes.add(integers[i], w, b + i, rows.scales(row_tile, block), rows.sums(row_tile, block),
                first == 0);
    }
  }
}

// Rows of weights from n on by all rows of a pass.
template <class Tiles, int kBits>
void tile_decode_columns(const WeightRows& w, const DecodeShape& shape, int n, int columns,
                         const TurnedRows& rows, int row_count, const float* bias, float* y,
                         int64_t y_stride, SpreadWeights& spread, TileLanes* lanes) {
  const int row_tiles = tiles_of(row_count);
  for (int first = 0; first < shape.blocks; first += kLanes16) {
    spread_weights<kBits>(w, shape, n, columns, first, spread);
    const int count = std::min(kLanes16, shape.blocks - first);
    for (int t = 0; t < row_tiles; ++t) {
      tile_blocks<Tiles>(spread, rows, t, first, count, lanes[t]);
    }
  }
  alignas(64) float sums[kTileRows * kTileRows];
  for (int t = 0; t < row_tiles; ++t) {
    for (int lane = shape.blocks; lane < kLanes16; ++lane) {
      std::memset(lanes[t].sums[lane], 0, sizeof(lanes[t].sums[lane]));
    }
    for (int i = 0; i < kTileRows; ++i) lanes[t].sum(i).store(sums + i * kTileRows);
    Vec16::transpose(sums, kTileRows, sums, kTileRows);
    for (int m = t * kTileRows; m < std::min(row_count, (t + 1) * kTileRows); ++m) {
      Vec16 sum = Vec16::load(sums + m % kTileRows * kTileRows);
      if (bias) sum = sum + Vec16::load_partial(bias + n, columns);
      sum.store_partial(y + m * y_stride + n, columns);
    }
  }
}

template <class Tiles>
void tile_decode_pass(const DecodeRow* decode_rows, int m_count, const WeightRows& w,
                      const DecodeShape& shape, int n_begin, int n_end, const float* bias, float* y,
                      int64_t y_stride) {
  alignas(64) std::byte memory[kTurnedBytes];
  const TurnedRows rows{memory, shape.padded_blocks()};
  for (int m = 0; m < m_count; m += kTileRows) {
    for (int first = 0; first < shape.blocks; first += kLanes16) {
      turn_blocks(decode_rows + m, std::min(kTileRows, m_count - m), shape, w.bits == 4, first,
                  rows, m / kTileRows);
    }
  }
  SpreadWeights spread = {};
  TileLanes lanes[kTileDecodePass];
  with_bits(w.bits, [&](auto bits) {
    for (int n = n_begin; n < n_end; n += kTileRows) {
      tile_decode_columns<Tiles, bits()>(w, shape, n, std::min(kTileRows, n_end - n), rows, m_count,
                                         bias, y, y_stride, spread, lanes);
    }
  });
}

template <class Tiles>
void tile_decode_product(const std::byte* x, int m_count, const WeightRows& w, int n_begin,
                         int n_end, const float* bias, float* y, int64_t y_stride) {
  const DecodeShape shape(w);
  const int tiles_max = kTurnedBytes / (shape.padded_blocks() * TurnedRows::kBlockBytes);
  if (m_count < kTileDecodeRowsMin || tiles_max == 0) {
    return avx512_table().decode_product(x, m_count, w, n_begin, n_end, bias, y, y_stride);
  }
  const typename Tiles::Session session;
  const int rows_max = std::min(tiles_max, kTileDecodePass) * kTileRows;
  for (int m = 0; m < m_count; m += rows_max) {
    const int count = std::min(rows_max, m_count - m);
    DecodeRow rows[kTileDecodePass * kTileRows];
    for (int i = 0; i < count; ++i) {
      rows[i] = {x + static_cast<size_t>(m + i) * shape.row_bytes(), shape};
    }
    tile_decode_pass<Tiles>(rows, count, w, shape, n_begin, n_end, bias, y + m * y_stride,
                            y_stride);
  }
}
