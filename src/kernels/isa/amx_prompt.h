// Part of amx.cpp: prompt rows times weights in bfloat16, by tiles.
//
// Sums are computed as W x^T: rows of weights are the left operands as they lie (in the file, or
// expanded into a panel of the thread), and only the rows of x are turned: in groups of 16, for
// each 32 inputs a tile of which row i holds the inputs 2i and 2i + 1 of every row of the group.
// Where inputs are the weight's rows (gradients), its columns are turned into the panel.
//
// The order of a sum: 32 inputs after another, in the order that prompt_avx512.h stores them, each
// 32 as one tile product. It depends on nothing else: how rows, columns and inputs are blocked, and
// what else is in a tile, does not matter.
//
// Blocking: a strip of 32 rows of x, kInputsAtOnce long, stays in the first-level cache while the
// panel passes from the second, 32 weight rows at a time: 4 tiles of sums, and each tile that is
// loaded is used twice. The sums of a block of rows wait in the second-level cache in between.

constexpr int kTileInputs = 32;
constexpr int kInputsAtOnce = 2 * kStretchInputs;
constexpr int kWeightsAtOnce = 256;
constexpr int kRowTilesAtOnce = 32;
// A row of a panel; a cache line more than a power of two, so that the rows of a tile do not meet
// in one set of the cache.
constexpr int kPanelRowBytes = kInputsAtOnce * 2 + 64;

// Memory of a thread.
struct TileScratch {
  std::byte* panel;  // [kWeightsAtOnce][kPanelRowBytes]
  std::byte* sums;   // tiles of a panel by a block of rows
  std::byte* gate;   // the same, what `activation` is taken of

  static constexpr size_t kPanelBytes = size_t{kWeightsAtOnce} * kPanelRowBytes;
  static constexpr size_t kSumBytes = size_t{kWeightsAtOnce} * kRowTilesAtOnce * kTileRowBytes;
  static constexpr size_t kBytes = kPanelBytes + 2 * kSumBytes;

  explicit TileScratch(std::byte* memory)
      : panel(memory), sums(panel + kPanelBytes), gate(sums + kSumBytes) {}
};

int tiles_of(int count) { return (count + kTileRows - 1) / kTileRows; }
int steps_of(int inputs) { return (inputs + kTileInputs - 1) / kTileInputs; }

size_t tile_block_bytes(const WeightRows& w) {
  return static_cast<size_t>(steps_of(w.inputs())) * kTileBytes;
}

// `count` rows, at most 16, as a group; what is missing is zeros.
void prepare_tile_rows(const float* x, int count, const WeightRows& w, std::byte* group) {
  constexpr int kInputs = 64;  // what put_evens_first turns around
  constexpr int kUnits = kInputs / 2;
  alignas(64) float part[kTileRows * kUnits] = {};
  for (int at = 0; at < w.inputs(); at += kInputs) {
    const int inputs = std::min(kInputs, w.inputs() - at);
    for (int r = 0; r < count; ++r) {
      auto* row = reinterpret_cast<uint16_t*>(part + r * kUnits);
      round_row(x + int64_t{r} * w.inputs() + at, inputs, row);
      if (evens_first(w)) put_evens_first(row, inputs);
    }
    for (int s = 0; s < steps_of(inputs); ++s, group += kTileBytes) {
      Vec16::transpose(part + s * kTileRows, kUnits, reinterpret_cast<float*>(group), kTileRows);
    }
  }
}

// The same from columns: x[i * stride + r] is input i of row r.
void prepare_turned_tile_rows(const float* x, int64_t stride, int count, const WeightRows& w,
                              std::byte* group) {
  const __mmask16 some = Vec16::mask(count);
  const int inputs = w.inputs();
  const auto load = [&](int i) {
    return i < inputs ? _mm512_maskz_loadu_ps(some, x + i * stride) : _mm512_setzero_ps();
  };
  for (int i = 0; i < steps_of(inputs) * kTileInputs; i += 2, group += kTileRowBytes) {
    _mm512_store_si512(group, paired(load(i), load(i + 1)));
  }
}

// Inputs [begin, begin + count) of outputs [n, n + columns) into a panel, where inputs are the
// weight's rows; zeros up to whole tiles.
void fill_turned_panel(const WeightRows& w, int n, int columns, int begin, int count,
                       std::byte* panel) {
  ColumnFloats even;
  ColumnFloats odd;
  __m512i tiles[kPanelVectors][kTileRows];
  const float zeros[kPanelColumns] = {};
  const auto floats = [&](ColumnFloats& of, int i, int first, int columns_here) {
    return i < count ? of.of(w, begin + i, n + first, columns_here) : zeros;
  };
  for (int first = 0; first < columns; first += kPanelColumns) {
    const int here = std::min(kPanelColumns, columns - first);
    for (int i = 0; i < count; i += kTileInputs) {
      for (int pair = 0; pair < kTileRows; ++pair) {
        const float* a = floats(even, i + 2 * pair, first, here);
        const float* b = floats(odd, i + 2 * pair + 1, first, here);
        for (int c = 0; c < here; c += kTileRows) {
          const __mmask16 some = Vec16::mask(std::min(kTileRows, here - c));
          tiles[c / kTileRows][pair] =
              paired(_mm512_maskz_loadu_ps(some, a + c), _mm512_maskz_loadu_ps(some, b + c));
        }
      }
      for (int c = 0; c < here; c += kTileRows) {
        transpose(tiles[c / kTileRows]);
        std::byte* to = panel + (first + c) * kPanelRowBytes + i * 2;
        for (int r = 0; r < kTileRows; ++r) {
          _mm512_store_si512(to + r * kPanelRowBytes, tiles[c / kTileRows][r]);
        }
      }
    }
  }
}

// Tiles one after another along the inputs, and where those of the next rows begin.
struct TileStrip {
  const std::byte* first;
  int64_t row_bytes;   // between the rows of a tile
  int64_t tile_bytes;  // between tiles along the inputs
  int64_t next;        // between tiles of further rows

  TileStrip from(int tile) const { return {first + tile * next, row_bytes, tile_bytes, next}; }
};

// Sums of I tiles of weight rows by J tiles of rows of x: a tile's at sums + (i * stride + j) *
// kTileBytes. 0 to 3 are tiles of sums, 4 and 5 of weights, 6 and 7 of x.
template <class Tiles, int I, int J>
void product_tiles(const TileStrip& w, const TileStrip& x, int steps, bool first, std::byte* sums,
                   int stride) {
  const auto each = [&](auto visit) {
    unrolled<I>([&](auto i) { unrolled<J>([&](auto j) { visit(i, j); }); });
  };
  each([&](auto i, auto j) {
    constexpr int kSums = 2 * i() + j();
    if (first) {
      Tiles::template zero<kSums>();
    } else {
      Tiles::template load<kSums>(sums + (i() * stride + j()) * kTileBytes, kTileRowBytes);
    }
  });
  const std::byte* left = w.first;
  const std::byte* right = x.first;
  for (int s = 0; s < steps; ++s, left += w.tile_bytes, right += x.tile_bytes) {
    unrolled<J>([&](auto j) { Tiles::template load<6 + j()>(right + j() * x.next, x.row_bytes); });
    unrolled<I>([&](auto i) {
      Tiles::template load<4 + i()>(left + i() * w.next, w.row_bytes);
      unrolled<J>(
          [&](auto j) { Tiles::template multiply_bf16<2 * i() + j(), 4 + i(), 6 + j()>(); });
    });
  }
  each([&](auto i, auto j) {
    Tiles::template store<2 * i() + j()>(sums + (i() * stride + j()) * kTileBytes, kTileRowBytes);
  });
}

// A panel by a block of rows, over one stretch of the inputs; strip_done(j) after the rows of x in
// tiles j and j + 1.
template <class Tiles, class Done>
void product_panel_tiles(const TileStrip& w, int w_tiles, const TileStrip& x, int x_tiles,
                         int steps, bool first, std::byte* sums, Done strip_done) {
  const auto pass = [&](int i, int j, auto rows, auto columns) {
    product_tiles<Tiles, rows(), columns()>(w.from(i), x.from(j), steps, first,
                                            sums + (i * x_tiles + j) * kTileBytes, x_tiles);
  };
  constexpr std::integral_constant<int, 1> kOne;
  constexpr std::integral_constant<int, 2> kTwo;
  for (int j = 0; j < x_tiles; j += 2) {
    const bool wide = j + 2 <= x_tiles;
    int i = 0;
    for (; i + 2 <= w_tiles; i += 2) wide ? pass(i, j, kTwo, kTwo) : pass(i, j, kTwo, kOne);
    if (i < w_tiles) wide ? pass(i, j, kOne, kTwo) : pass(i, j, kOne, kOne);
    strip_done(j);
  }
}

// Rows of weights [n, n + columns) by a block of rows of x.
template <class Tiles>
class TileBlock {
 public:
  TileBlock(const TileStrip& x, int x_tiles, int n, int columns, std::byte* panel)
      : x_(x), x_tiles_(x_tiles), n_(n), columns_(columns), panel_(panel) {}

  // Weights that are used but once are read where they lie, if a tile's rows end with theirs.
  void run(const WeightRows& w, std::byte* sums) const {
    const bool fit = w.turned_rows == 0 && columns_ % kTileRows == 0 && w.k % kTileInputs == 0;
    if (x_tiles_ <= 2 && fit && w.bits == 0 && w.dtype == Float::kBF16) return in_place(w, sums);
    const TileStrip strip{panel_, kPanelRowBytes, kTileRowBytes, kTileRows * kPanelRowBytes};
    TileStrip rest = x_;
    for (int k = 0; k == 0 || k < w.inputs(); k += kInputsAtOnce) {  // without inputs sums are zero
      const int count = std::min(kInputsAtOnce, w.inputs() - k);
      fill(w, k, count);
      product_panel_tiles<Tiles>(strip, tiles_of(columns_), rest, x_tiles_, steps_of(count), k == 0,
                                 sums, [&](int j) { fetch_ahead(w, k + count, j); });
      rest.first += steps_of(count) * x_.tile_bytes;
    }
  }

 private:
  void in_place(const WeightRows& w, std::byte* sums) const {
    const int64_t row_bytes = int64_t{w.k} * 2;
    const auto* first = static_cast<const std::byte*>(w.data) + n_ * row_bytes;
    product_panel_tiles<Tiles>({first, row_bytes, kTileRowBytes, kTileRows * row_bytes},
                               tiles_of(columns_), x_, x_tiles_, steps_of(w.k), true, sums,
                               [](int) {});
  }
  void fill(const WeightRows& w, int begin, int count) const {
    if (w.turned_rows != 0) return fill_turned_panel(w, n_, columns_, begin, count, panel_);
    for (int i = 0; i < columns_; ++i) {
      auto* row = reinterpret_cast<uint16_t*>(panel_ + i * kPanelRowBytes);
      for (int k = 0; k < count; k += kStretchInputs) {
        expand_stretch(w, n_ + i, begin + k, std::min(kStretchInputs, count - k), row + k);
      }
    }
  }
  // A share of what the next fill reads: from input `next` on, or of the next panel.
  void fetch_ahead(const WeightRows& w, int next, int strip) const {
    if (w.turned_rows != 0) return;
    const bool last = next == w.k;
    const int begin = last ? 0 : next;
    const int end = std::min(strip + 2, x_tiles_) * columns_ / x_tiles_;
    for (int i = strip * columns_ / x_tiles_; i < end; ++i) {
      fetch_inputs(w, n_ + i + (last ? columns_ : 0), begin, std::min(kInputsAtOnce, w.k - begin));
    }
  }

  TileStrip x_;
  int x_tiles_;
  int n_;
  int columns_;
  std::byte* panel_;
};

// 16 sums of one row: its bias, activation and gate.
Vec16 finished(const PromptProduct& p, Vec16 sum, Vec16 gate, int n, int lanes) {
  const auto biased = [&](Vec16 value, const float* bias) {
    return bias ? value + Vec16::load_partial(bias + n, lanes) : value;
  };
  Vec16 value = biased(sum, p.bias);
  return p.gate ? activated(p.activation, biased(gate, p.gate_bias)) * value
                : activated(p.activation, value);
}

// Turns sums of columns from n on into rows of y, from `row` on; along the rows, or each line
// written would lie in another page.
void write_tiles(const PromptProduct& p, const TileScratch& scratch, int n, int columns, int row,
                 int rows) {
  alignas(64) float sums[kTileRows * kTileRows];
  alignas(64) float gate[kTileRows * kTileRows] = {};
  const int row_tiles = tiles_of(rows);
  const auto turn = [](const std::byte* tile, float* to) {
    Vec16::transpose(reinterpret_cast<const float*>(tile), kTileRows, to, kTileRows);
  };
  for (int m = 0; m < rows; m += kTileRows) {
    for (int i = 0; i < columns; i += kTileRows) {
      const int lanes = std::min(kTileRows, columns - i);
      const int tile = (i * row_tiles + m) / kTileRows * kTileBytes;
      turn(scratch.sums + tile, sums);
      if (p.gate) turn(scratch.gate + tile, gate);
      for (int r = 0; r < std::min(kTileRows, rows - m); ++r) {
        const int to = row + m + r;
        finished(p, Vec16::load(sums + r * kTileRows), Vec16::load(gate + r * kTileRows), n + i,
                 lanes)
            .store_partial(p.y + to * p.y_stride + n + i, lanes);
      }
    }
  }
}

template <class Tiles>
void tile_product(const PromptProduct& p, int n_begin, int n_end, std::byte* memory) {
  const typename Tiles::Session session;
  const TileScratch scratch(memory);
  const auto group_bytes = static_cast<int64_t>(tile_block_bytes(p.w));
  const int groups = tiles_of(p.rows);
  const int blocks = (groups + kRowTilesAtOnce - 1) / kRowTilesAtOnce;
  for (int n = n_begin; n < n_end; n += kWeightsAtOnce) {
    const int columns = std::min(kWeightsAtOnce, n_end - n);
    for (int b = 0; b < blocks; ++b) {
      // As even as they can be, and whole strips but for the last.
      const int begin = (groups * b / blocks + 1) / 2 * 2;
      const int end = b + 1 < blocks ? (groups * (b + 1) / blocks + 1) / 2 * 2 : groups;
      const TileBlock<Tiles> block(
          {p.x + begin * group_bytes, kTileRowBytes, kTileBytes, group_bytes}, end - begin, n,
          columns, scratch.panel);
      if (p.gate) block.run(*p.gate, scratch.gate);
      block.run(p.w, scratch.sums);
      write_tiles(p, scratch, n, columns, begin * kTileRows,
                  std::min(end * kTileRows, p.rows) - begin * kTileRows);
    }
  }
}
