// Part of avx512.cpp: decode products of several rows, with the bits of decode_body.h. There a
// register holds inputs of one column, so every block of every row costs a sum across lanes. Here
// 32 columns are turned over, so that a lane is a column and a block's integer grows in place; what
// the turning costs is shared by the rows.

constexpr int kTurnedRowsMin = 4;   // below, turning the weights costs more than it saves
constexpr int kTurnedRows = 8;      // whose integers fit the registers
constexpr int kTurnedRowsMax = 16;  // whose float sums are kept
static_assert(kDecodePanel == 2 * kLanes16);

struct alignas(64) DecodePanel {
  uint8_t packed[kLanes][kLanes16][2][64];  // chunk, 4 bytes of it, columns
  float scales[kLanes16][kDecodePanel];     // block, column
  float biases[kLanes16][kDecodePanel];
  float sums[kLanes16][kTurnedRowsMax][kDecodePanel];  // lane of decode_body.h, row, column
};

struct PanelColumns {
  const WeightRows& w;
  const DecodeShape& shape;
  int first;
  int count;

  // Calls f(i) with an address for each of 16 columns from number `begin` on; each lies `stride`
  // behind the one before, but for those past the last, which are that one again.
  template <class Element, class F>
  void each(const Element* all, size_t stride, int begin, F f) const {
    const Element* p = all + static_cast<size_t>(first + std::min(begin, count - 1)) * stride;
    unrolled<kLanes16>([&](auto i) {
      f(i, p);
      p += begin + i + 1 < count ? stride : 0;
    });
  }
};

// 16 blocks' scales, or biases, of all columns.
[[gnu::flatten]] void turn_block_values(const PanelColumns& columns, const void* values,
                                        int first_block, float out[kLanes16][kDecodePanel]) {
  const DecodeShape& shape = columns.shape;
  for (int half = 0; half < kDecodePanel; half += kLanes16) {
    __m512i r[kLanes16];
    const auto put = [&](auto i, Vec16 blocks) { r[i] = _mm512_castps_si512(blocks.v); };
    if (shape.has_plain_values(columns.w)) {
      const int count = std::min(kLanes16, shape.blocks - first_block);
      const auto* halves_of_all = static_cast<const uint16_t*>(values);
      // Those of the panel that follows, in the order of memory.
      const uint16_t* ahead = halves_of_all +
                              static_cast<size_t>(columns.first + kDecodePanel) * shape.groups +
                              static_cast<size_t>(first_block * kDecodePanel + half * kLanes16);
      for (int i = 0; i < kLanes; ++i) _mm_prefetch(ahead + i * 32, _MM_HINT_T0);
      columns.each(halves_of_all + first_block, static_cast<size_t>(shape.groups), half,
                   [&](auto i, const uint16_t* halves) {
                     put(i, Vec16::load_half(halves, columns.w.dtype, count));
                   });
    } else {
      unrolled<kLanes16>([&](auto i) {
        const int column = columns.first + std::min(half + i, columns.count - 1);
        put(i, block_values(columns.w, values, static_cast<size_t>(column) * shape.groups,
                            first_block, shape));
      });
    }
    transpose(r);
    for (int i = 0; i < kLanes16; ++i) _mm512_store_si512(out[i] + half, r[i]);
  }
}

// A chunk of one column: as it is stored where that is 4 bits, else a byte for each.
template <int kBits>
__m512i packed_chunk(const uint8_t* packed, int count) {
  if constexpr (kBits == 4 || kBits == 8) return Bytes::load(packed, count * kBits / 8).v;
  alignas(64) uint8_t bytes[kChunkBytes] = {};
  spread_bytes<kBits>(packed, count, bytes);
  return _mm512_load_si512(bytes);
}

// The chunks from input `at` on of all columns.
template <int kBits, int kChunks>
[[gnu::noinline, gnu::flatten]] void turn_chunks(const PanelColumns& columns, int at,
                                                 DecodePanel& panel) {
  constexpr int kInputs = kChunkInputs<kBits>;
  const size_t stride = static_cast<size_t>(columns.w.k) * kBits / 8;
  const auto* all =
      static_cast<const uint8_t*>(columns.w.data) + static_cast<size_t>(at) * kBits / 8;
  for (int half = 0; half < 2; ++half) {
    for (int c = 0; c < kChunks && at + c * kInputs < columns.w.k; ++c) {
      const int count = std::min(kInputs, columns.w.k - at - c * kInputs);
      __m512i r[kLanes16];
      columns.each(
          all + c * (kInputs * kBits / 8), stride, half * kLanes16,
          [&](auto i, const uint8_t* packed) { r[i] = packed_chunk<kBits>(packed, count); });
      transpose(r);
      for (int i = 0; i < kLanes16; ++i) _mm512_store_si512(panel.packed[c][i][half], r[i]);
    }
  }
}

// Integers of R rows and all columns of a panel.
template <int R>
struct PanelIntegers {
  __m512i v[R][2];

  // Four inputs: a and b hold the weights of 16 columns each, the rows lie `stride` bytes apart.
  void add(__m512i a, __m512i b, const int8_t* x, size_t stride) {
    unrolled<R>([&](auto r) {
      int four;
      std::memcpy(&four, x + r * stride, sizeof(four));
      const __m512i all = _mm512_set1_epi32(four);
      v[r][0] = _mm512_dpbusd_epi32(v[r][0], a, all);
      v[r][1] = _mm512_dpbusd_epi32(v[r][1], b, all);
    });
  }
};

// One block: kPerBlock words of a chunk, whose activations start at x. Even and odd inputs of 4-bit
// weights have a half of the chunk each.
template <int R, bool kNibbles, int kPerBlock>
PanelIntegers<R> block_integers(const uint8_t (*packed)[2][64], const int8_t* x, size_t stride) {
  PanelIntegers<R> sums;
  unrolled<R>([&](auto r) { sums.v[r][0] = sums.v[r][1] = _mm512_setzero_si512(); });
  const __m512i mask = _mm512_set1_epi8(15);
#pragma GCC unroll 16
  for (int i = 0; i < kPerBlock; ++i) {
    const __m512i a = _mm512_load_si512(packed[i][0]);
    const __m512i b = _mm512_load_si512(packed[i][1]);
    if constexpr (kNibbles) {
      sums.add(_mm512_and_si512(a, mask), _mm512_and_si512(b, mask), x + 4 * i, stride);
      sums.add(_mm512_and_si512(_mm512_srli_epi16(a, 4), mask),
               _mm512_and_si512(_mm512_srli_epi16(b, 4), mask), x + 4 * i + kChunkBytes, stride);
    } else {
      sums.add(a, b, x + 4 * i, stride);
    }
  }
  return sums;
}

// The panel that follows, fetched while this one is worked on: a few lines with every block, in the
// order of memory, since turning them over would wait for each.
struct PanelAhead {
  const uint8_t* packed = nullptr;

  template <int kLines>
  void fetch(int block) const {
    if (!packed) return;
    for (int i = block * kLines; i < (block + 1) * kLines; ++i) {
      _mm_prefetch(packed + 64 * i, _MM_HINT_T0);
    }
  }
};

// Blocks [begin, end) of 16 blocks of R rows into their float sums; the panel's chunks begin at
// `begin`, and block `first` of the row is the first of the 16. Row 0 is row `m` of the panel.
template <int R, bool kNibbles, int kPerBlock>
[[gnu::noinline]] void decode_panel_rows(const DecodeRow* rows, size_t stride, int m, int first,
                                         int begin, int end, const PanelAhead& ahead,
                                         DecodePanel& panel) {
  for (int block = begin; block < end; ++block) {
    ahead.fetch<2 * kPerBlock>(first + block);
    const int word = block * kPerBlock;
    const int chunk = (first * kPerBlock + word) / kLanes16;
    const int8_t* x =
        rows[m].bytes + chunk * (kNibbles ? 2 : 1) * kChunkBytes + word % kLanes16 * 4;
    const auto sums = block_integers<R, kNibbles, kPerBlock>(
        &panel.packed[0][word - begin * kPerBlock], x, stride);
    unrolled<2>([&](auto half) {
      const Vec16 scale = Vec16::load(panel.scales[block] + half * kLanes16);
      const Vec16 bias = Vec16::load(panel.biases[block] + half * kLanes16);
      unrolled<R>([&](auto r) {
        const DecodeRow& row = rows[m + r];
        float* sum = panel.sums[block][m + r] + half * kLanes16;
        const Vec16 before = first == 0 ? Vec16::zero() : Vec16::load(sum);
        const Vec16 product = {_mm512_cvtepi32_ps(sums.v[r][half])};
        const Vec16 all =
            Vec16::fma(product, scale * Vec16::set1(row.scales[first + block]), before);
        Vec16::fma(bias, Vec16::set1(row.sums[first + block]), all).store(sum);
      });
    });
  }
}

// The lanes of decode_body.h, summed as Vec16::sum() sums them.
Vec16 sum_of_lanes(const DecodePanel& panel, int m, int column) {
  const auto lane = [&](int i) { return Vec16::load(panel.sums[i][m] + column); };
  const auto pair = [&](int i) { return lane(i) + lane(i + kLanes); };
  return ((pair(0) + pair(4)) + (pair(2) + pair(6))) + ((pair(1) + pair(5)) + (pair(3) + pair(7)));
}

// The same for all rows: in passes of much the same size, each with its count
// as a constant.
template <bool kNibbles, int kPerBlock>
void all_decode_panel_rows(const DecodeRow* rows, int m_count, size_t stride, int first, int begin,
                           int end, const PanelAhead& ahead, DecodePanel& panel) {
  const int passes = (m_count + kTurnedRows - 1) / kTurnedRows;
  for (int pass = 0; pass < passes; ++pass) {
    const int m = m_count * pass / passes;
    const auto run = [&](auto r) {
      decode_panel_rows<r(), kNibbles, kPerBlock>(rows, stride, m, first, begin, end,
                                                  pass == 0 ? ahead : PanelAhead(), panel);
    };
    switch (m_count * (pass + 1) / passes - m) {
      case 4:
        run(std::integral_constant<int, 4>());
        break;
      case 5:
        run(std::integral_constant<int, 5>());
        break;
      case 6:
        run(std::integral_constant<int, 6>());
        break;
      case 7:
        run(std::integral_constant<int, 7>());
        break;
      default:
        run(std::integral_constant<int, kTurnedRows>());
    }
  }
}

// kTurnedRowsMin to kTurnedRowsMax rows and up to kDecodePanel columns.
template <int kBits, int kPerBlock>
void decode_panel_product(const DecodeRow* rows, int m_count, const PanelColumns& columns,
                          const float* bias, float* y, int64_t y_stride, DecodePanel& panel) {
  const DecodeShape& shape = columns.shape;
  for (int lane = shape.blocks; lane < kLanes16; ++lane) {
    std::memset(panel.sums[lane], 0, static_cast<size_t>(m_count) * sizeof(panel.sums[0][0]));
  }
  for (int first = 0; first < shape.blocks; first += kLanes16) {
    turn_block_values(columns, columns.w.scales, first, panel.scales);
    turn_block_values(columns, columns.w.biases, first, panel.biases);
    // Half of the 16 at a time, so that all stays in the first-level cache.
    const int count = std::min(kLanes16, shape.blocks - first);
    for (int begin = 0; begin < count; begin += kLanes) {
      const int at = (first + begin) * shape.block;
      turn_chunks<kBits, kPerBlock / 2>(columns, at, panel);
      const PanelAhead ahead{packed_row(columns.w, columns.first + kDecodePanel)};
      all_decode_panel_rows<kBits == 4, kPerBlock>(rows, m_count, shape.row_bytes(), first, begin,
                                                   std::min(begin + kLanes, count), ahead, panel);
    }
  }
  for (int m = 0; m < m_count; ++m) {
    for (int n = 0; n < columns.count; n += kLanes16) {
      const int count = std::min(kLanes16, columns.count - n);
      Vec16 sum = sum_of_lanes(panel, m, n);
      if (bias) sum = sum + Vec16::load_partial(bias + columns.first + n, count);
      sum.store_partial(y + m * y_stride + columns.first + n, count);
    }
  }
}

void decode_panels(const std::byte* x, int m_count, const WeightRows& w, int n_begin, int n_end,
                   const float* bias, float* y, int64_t y_stride) {
  if (m_count < kTurnedRowsMin) {
    return decode_product(x, m_count, w, n_begin, n_end, bias, y, y_stride);
  }
  const DecodeShape shape(w);
  DecodePanel panel;
  with_blocks(w, shape, [&](auto bits, auto per_block) {
    const int groups = (m_count + kTurnedRowsMax - 1) / kTurnedRowsMax;
    for (int group = 0; group < groups; ++group) {
      const int m = m_count * group / groups;
      const int count = m_count * (group + 1) / groups - m;
      DecodeRow rows[kTurnedRowsMax];
      for (int i = 0; i < count; ++i) {
        rows[i] = {x + static_cast<size_t>(m + i) * shape.row_bytes(), shape};
      }
      for (int n = n_begin; n < n_end; n += kDecodePanel) {
        const PanelColumns columns{w, shape, n, std::min(kDecodePanel, n_end - n)};
        decode_panel_product<bits(), per_block()>(rows, count, columns, bias, y + m * y_stride,
                                                  y_stride, panel);
      }
    }
  });
}
