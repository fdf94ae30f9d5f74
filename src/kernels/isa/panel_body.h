// Part of body.h: products of prompt rows, kPanelRows rows by panels of kPanelVectors * 16 columns.
//
// A unit is the 32 bits of inputs that one lane takes at a time: one float, two bfloat16 or four
// bytes; the variant's type Unit says how they are multiplied. Rows of x are laid out in blocks,
// unit by unit with a number from each row, weights in panels, unit by unit with 16 columns in a
// vector. The order of a sum: stretches of kStretchUnits units, one after another; within a
// stretch, one chain of multiply-adds. It depends on nothing else, so any tile gives the same bits.
//
// A Unit has kInputs (of a unit), kRowLanes, Sum (16 sums: zero, load, store, +), times(x, columns,
// sum) for the bits of one row's unit and of 16 columns', and what its product needs at the ends:
//   Unit(p): for one product;
//   fill(w, first, count, begin, inputs, to): inputs of `count` weight rows as units, the rows
//     kStretchUnits lanes apart, zeros up to a whole unit;
//   fill_turned(w, first, count, begin, inputs, to, stride): where inputs are the weight's rows,
//     units of `count` columns, `stride` lanes apart;
//   value(sum, row, column): 16 sums as floats.

constexpr int kPanelRows = Vec16::kPanelRows;
constexpr int kPanelVectors = Vec16::kPanelVectors;
constexpr int kPanelColumns = kPanelVectors * kLanes16;
constexpr int kStretchUnits = 128;
constexpr int kRowsAtOnce = 1584 / kPanelRows * kPanelRows;  // whose sums share the second cache

// Memory of a thread, in lanes of 32 bits.
struct PanelScratch {
  float* panel;  // [kStretchUnits][vectors][16]
  float* rows;   // [16][kStretchUnits], of weights before they are turned
  float* sums;   // [kRowsAtOnce][vectors][16]
  float* gate;   // the same, what `activation` is taken of

  explicit PanelScratch(std::byte* memory)
      : panel(reinterpret_cast<float*>(memory)),
        rows(panel + kStretchUnits * kPanelColumns),
        sums(rows + kStretchUnits * kLanes16),
        gate(sums + kRowsAtOnce * kPanelColumns) {}
  static constexpr size_t kLanesInAll =
      kStretchUnits * (kPanelColumns + kLanes16) + 2 * kRowsAtOnce * kPanelColumns;
};
static_assert(PanelScratch::kLanesInAll * 4 <= kPromptScratchBytes);

template <class Unit>
int units_of(int k) {
  return (k + Unit::kInputs - 1) / Unit::kInputs;
}

// Units, then what the Unit keeps of each row: kRowLanes lanes.
template <class Unit>
size_t panel_block_bytes(const WeightRows& w) {
  const size_t lanes =
      static_cast<size_t>(units_of<Unit>(w.inputs()) + Unit::kRowLanes) * kPanelRows;
  return (lanes + kLanes16 - 1) / kLanes16 * kLanes16 * 4;
}

// Calls f with the number of vectors as a constant.
template <class F>
void with_vectors(int vectors, F f) {
  unrolled<kPanelVectors>([&](auto i) {
    if (i + 1 == vectors) f(std::integral_constant<int, i + 1>());
  });
}

// Units of `rows` rows, kStretchUnits lanes apart, from number `first` of a block on; zeros in the
// rows that are not there. `from` has room for whole vectors.
void pack_block(float* from, int rows, int first, int units, float* block) {
  for (int r = rows; r < kPanelRows; ++r) {
    std::memset(from + r * kStretchUnits, 0, kStretchUnits * sizeof(float));
  }
  float* out = block + static_cast<size_t>(first) * kPanelRows;
  int u = 0;
  for (; u + kLanes16 <= units; u += kLanes16) {
    Vec16::interleave(from + u, kStretchUnits, out + u * kPanelRows);
  }
  for (; u < units; ++u) {
    for (int r = 0; r < kPanelRows; ++r) out[u * kPanelRows + r] = from[r * kStretchUnits + u];
  }
}

Vec16 activated(Activation activation, Vec16 v) {
  switch (activation) {
    case Activation::kSilu:
      return silu_of(v);
    case Activation::kGeluExact:
      return gelu_exact_of(v);
    case Activation::kGeluTanh:
      return gelu_tanh_of(v);
    case Activation::kGeluQuick:
      return gelu_quick_of(v);
    default:
      return v;
  }
}

// One tile: kPanelRows rows of a block by C vectors of a panel, whose sums are added to `kept`, or
// are the first there. `next` is the block that will be read after this one.
template <class Unit, int C>
void panel_tile(const float* x, const float* next, const float* panel, int units, bool first,
                float* kept) {
  using Sum = typename Unit::Sum;
  Sum sums[kPanelRows][C];
  unrolled<kPanelRows>([&](auto r) { unrolled<C>([&](auto c) { sums[r][c] = Sum::zero(); }); });
  for (int u = 0; u < units; ++u) {
    if (u % 2 == 0) __builtin_prefetch(next + u * kPanelRows);
    Vec16 columns[C];
    unrolled<C>([&](auto c) { columns[c] = Vec16::load(panel + (u * C + c) * kLanes16); });
    unrolled<kPanelRows>([&](auto r) {
      const Vec16 row = Vec16::set1(x[u * kPanelRows + r]);
      unrolled<C>([&](auto c) { sums[r][c] = Unit::times(row, columns[c], sums[r][c]); });
    });
  }
  // Not at once with the stores, or the compiler keeps the sums in memory.
  if (!first) {
    unrolled<kPanelRows>([&](auto r) {
      unrolled<C>(
          [&](auto c) { sums[r][c] = Sum::load(kept + (r * C + c) * kLanes16) + sums[r][c]; });
    });
  }
  unrolled<kPanelRows>([&](auto r) {
    unrolled<C>([&](auto c) { sums[r][c].store(kept + (r * C + c) * kLanes16); });
  });
}

// Fetches inputs [begin, begin + count) of a weight row into the second-level cache. The rows of a
// panel lie too far apart for the processor to foresee what is read next; there need not be one.
void fetch_inputs(const WeightRows& w, int row, int begin, int count) {
  const size_t bits = value_bits(w);
  const char* first = static_cast<const char*>(w.data) +
                      (static_cast<size_t>(row) * w.k + static_cast<size_t>(begin)) * bits / 8;
  const size_t bytes = static_cast<size_t>(count) * bits / 8;
  for (size_t at = 0; at < bytes; at += 64) fetch_line<2>(first + at);
}

// Columns [n, n + count) of one weight and the rows from `first_row` on.
template <class Unit>
struct Panel {
  using Sum = typename Unit::Sum;

  const PromptProduct& p;
  const WeightRows& w;
  const Unit& unit;
  const PanelScratch& scratch;
  int n;
  int count;
  int first_row;
  int rows;

  int lanes(int c) const { return std::min(kLanes16, count - c * kLanes16); }

  void fill(int begin, int inputs, int vectors) const {
    if constexpr (requires { &Unit::fill_turned; }) {
      if (w.turned_rows != 0) {
        return Unit::fill_turned(w, n, count, begin, inputs, scratch.panel, vectors * kLanes16);
      }
    }
    const int units = units_of<Unit>(inputs);
    for (int c = 0; c < vectors; ++c) {
      unit.fill(w, n + c * kLanes16, lanes(c), begin, inputs, scratch.rows);
      for (int u = 0; u < units; u += kLanes16) {
        Vec16::transpose(scratch.rows + u, kStretchUnits,
                         scratch.panel + (u * vectors + c) * kLanes16, vectors * kLanes16);
      }
    }
  }

  // Fetches what the next fill reads of rows [begin, end) of the panel: the next stretch, or the
  // first of the next panel.
  void fetch_ahead(int begin, int end, int k, int stretch) const {
    if (w.turned_rows != 0) return;
    const bool last = k + stretch >= w.k;
    const int input = last ? 0 : k + stretch;
    const int first = n + (last ? count : 0);
    for (int i = begin; i < end; ++i) {
      fetch_inputs(w, first + i, input, std::min(stretch, w.k - input));
    }
  }

  template <int C, class End>
  void finish(int row, const float* sums, const End& end) const {
    for (int r = 0; r < std::min(kPanelRows, rows - row); ++r) {
      for (int c = 0; c < C; ++c, sums += kLanes16) {
        end.store(end.value(Sum::load(sums), row + r, c), row + r, c);
      }
    }
  }

  // Sums are kept in scratch.sums; `end` is given those of all inputs.
  template <int C, class End>
  void run(const End& end) const {
    constexpr int kStretch = kStretchUnits * Unit::kInputs;
    const auto* x = reinterpret_cast<const float*>(p.x);
    const size_t block = panel_block_bytes<Unit>(w) / 4;
    const int parts = (rows + kPanelRows - 1) / kPanelRows;
    for (int k = 0; k == 0 || k < w.inputs(); k += kStretch) {  // without inputs sums are zero
      const int inputs = std::min(kStretch, w.inputs() - k);
      const int units = units_of<Unit>(inputs);
      const bool last = k + inputs == w.inputs();
      fill(k, inputs, C);
      for (int part = 0; part < parts; ++part) {
        const int row = part * kPanelRows;
        const float* from = x + (first_row + row) / kPanelRows * block +
                            static_cast<size_t>(k) / Unit::kInputs * kPanelRows;
        fetch_ahead(part * C * kLanes16 / parts, (part + 1) * C * kLanes16 / parts, k, kStretch);
        float* kept = scratch.sums + row * C * kLanes16;
        panel_tile<Unit, C>(from, from + block, scratch.panel, units, k == 0, kept);
        if (last) finish<C>(row, kept, end);
      }
    }
  }

  // 16 sums of column n + 16 c on, and the bias.
  Vec16 biased(Sum sum, const float* bias, int row, int c) const {
    const int column = n + c * kLanes16;
    const Vec16 value = unit.value(sum, first_row + row, column);
    return bias ? value + Vec16::load_partial(bias + column, lanes(c)) : value;
  }
};

// A gate's values, kept as the sums of its panel lie.
template <class Unit>
struct GateEnd {
  const PromptProduct& p;
  const Panel<Unit>& panel;
  int vectors;

  float* at(int row, int c) const { return panel.scratch.gate + (row * vectors + c) * kLanes16; }
  Vec16 value(typename Unit::Sum sum, int row, int c) const {
    return activated(p.activation, panel.biased(sum, p.gate_bias, row, c));
  }
  void store(Vec16 value, int row, int c) const { value.store(at(row, c)); }
};

// What follows a product.
template <class Unit>
struct ProductEnd {
  const PromptProduct& p;
  const Panel<Unit>& panel;
  const GateEnd<Unit>& gate;

  int64_t at(int row, int c) const {
    return (panel.first_row + row) * p.y_stride + panel.n + c * kLanes16;
  }
  Vec16 value(typename Unit::Sum sum, int row, int c) const {
    const Vec16 value = panel.biased(sum, p.bias, row, c);
    return p.gate ? Vec16::load(gate.at(row, c)) * value : activated(p.activation, value);
  }
  void store(Vec16 value, int row, int c) const {
    value.store_partial(p.y + at(row, c), panel.lanes(c));
  }
};

template <class Unit, int C>
void panel_columns_of(const PromptProduct& p, const PanelScratch& scratch, int n, int count,
                      int first_row, int rows) {
  const WeightRows& gate_w = p.gate ? *p.gate : p.w;
  const Unit gate_unit(p, gate_w);
  const Panel<Unit> gate{p, gate_w, gate_unit, scratch, n, count, first_row, rows};
  const GateEnd<Unit> gate_end{p, gate, C};
  if (p.gate) gate.template run<C>(gate_end);
  const Unit unit(p, p.w);
  const Panel<Unit> panel{p, p.w, unit, scratch, n, count, first_row, rows};
  panel.template run<C>(ProductEnd<Unit>{p, panel, gate_end});
}

template <class Unit>
void panel_product(const PromptProduct& p, int n_begin, int n_end, std::byte* memory) {
  const PanelScratch scratch(memory);
  for (int n = n_begin; n < n_end; n += kPanelColumns) {
    const int count = std::min(kPanelColumns, n_end - n);
    for (int row = 0; row < p.rows; row += kRowsAtOnce) {
      const int rows = std::min(kRowsAtOnce, p.rows - row);
      with_vectors((count + kLanes16 - 1) / kLanes16, [&](auto vectors) {
        panel_columns_of<Unit, vectors()>(p, scratch, n, count, row, rows);
      });
    }
  }
}

// Some columns of a weight row as floats, which need not begin a group.
struct ColumnFloats {
  static constexpr int kGroupMax = 128;
  alignas(64) float values[kPanelColumns + 2 * kGroupMax];

  const float* of(const WeightRows& w, int row, int first, int count) {
    const int group = w.bits != 0 ? w.group_size : 1;
    const int begin = first / group * group;
    const int end = (first + count + group - 1) / group * group;
    expand_inputs(w, row, begin, end - begin, values);
    return values + (first - begin);
  }
};

// Floats as they are: the same bits in all variants.
struct FloatUnit {
  static constexpr int kInputs = 1;
  static constexpr int kRowLanes = 0;
  using Sum = Vec16;

  FloatUnit(const PromptProduct&, const WeightRows&) {}
  static Vec16 times(Vec16 x, Vec16 columns, Vec16 sum) { return Vec16::fma(x, columns, sum); }
  static Vec16 value(Vec16 sum, int, int) { return sum; }
  static void fill(const WeightRows& w, int first, int count, int begin, int inputs, float* to) {
    for (int i = 0; i < count; ++i) {
      expand_inputs(w, first + i, begin, inputs, to + i * kStretchUnits);
    }
  }
  static void fill_turned(const WeightRows& w, int first, int count, int begin, int inputs,
                          float* to, int stride) {
    ColumnFloats columns;
    for (int i = 0; i < inputs; ++i) {
      std::memcpy(to + i * stride, columns.of(w, begin + i, first, count),
                  static_cast<size_t>(count) * sizeof(float));
    }
  }
};

void prepare_f32(const float* x, int rows, const WeightRows& w, std::byte* block) {
  alignas(64) float from[kPanelRows * kStretchUnits];
  for (int k = 0; k < w.inputs(); k += kStretchUnits) {
    const int count = std::min(kStretchUnits, w.inputs() - k);
    for (int r = 0; r < rows; ++r) {
      std::memcpy(from + r * kStretchUnits, x + int64_t{r} * w.inputs() + k,
                  static_cast<size_t>(count) * sizeof(float));
    }
    pack_block(from, rows, k, count, reinterpret_cast<float*>(block));
  }
}

void prepare_turned_f32(const float* x, int64_t stride, int rows, const WeightRows& w,
                        std::byte* block) {
  auto* out = reinterpret_cast<float*>(block);
  for (int i = 0; i < w.inputs(); ++i, x += stride, out += kPanelRows) {
    for (int r = 0; r < kPanelRows; ++r) out[r] = r < rows ? x[r] : 0;
  }
}
