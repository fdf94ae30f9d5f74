// Part of amx.cpp: attention with products in bfloat16, by tiles. Queries, keys and values are
// packed as flash_pack_avx512.h does it, which is how tiles want them, and the softmax is
// flash_avx512.h's; queries go through in tiles of 32, whose scores and weights stay in the
// first-level cache.
//
// The order of a sum: head elements of a score, and keys of a value, 32 after another, each 32 as
// one tile product, keys at absolute positions. A key that a query does not see adds an exact zero.

constexpr int kFlashTileQueries = 2 * kTileRows;
constexpr int kFlashStep = 32;  // head elements or keys of a tile product

// Flash for whole tiles of queries: those behind the last are zeros, and nobody looks at theirs.
Flash tile_flash(const AttentionRows& a, float* scratch) {
  const int queries = a.rows * a.group;
  AttentionRows whole = a;
  whole.rows = (queries + kFlashTileQueries - 1) / kFlashTileQueries * kFlashTileQueries;
  whole.group = 1;
  Flash f(whole, scratch);
  begin_flash(f);
  std::fill(f.q + queries * f.pairs, f.q + f.queries * f.pairs, 0u);
  f.scores = f.out + f.queries * f.columns;
  f.weights = reinterpret_cast<uint32_t*>(f.scores + kFlashTileQueries * kFlashKeys);
  f.queries = queries;
  return f;
}

// Scores of R tiles of queries with keys [key, key + 32) of the block.
template <class Tiles, int R>
void tile_scores(const Flash& f, int query, int key) {
  unrolled<2 * R>([](auto i) { Tiles::template zero<i()>(); });
  const uint32_t* keys = f.k + key / kFlashStrip * f.pairs * kFlashStrip + key % kFlashStrip;
  for (int p = 0; p < f.pairs; p += kTileRows) {
    unrolled<2>([&](auto c) {
      Tiles::template load<6 + c()>(keys + p * kFlashStrip + c() * kTileRows, kFlashStrip * 4);
    });
    unrolled<R>([&](auto r) {
      const uint32_t* queries = f.q + (query + r() * kTileRows) * f.pairs + p;
      Tiles::template load<4 + r()>(queries, f.pairs * 4);
      unrolled<2>(
          [&](auto c) { Tiles::template multiply_bf16<2 * r() + c(), 4 + r(), 6 + c()>(); });
    });
  }
  unrolled<R>([&](auto r) {
    unrolled<2>([&](auto c) {
      float* to = f.scores + r() * kTileRows * kFlashKeys + key + c() * kTileRows;
      Tiles::template store<2 * r() + c()>(to, kFlashKeys * 4);
    });
  });
}

// Weights of queries, and their sums over values; both with bytes from query to query.
struct WeightedRows {
  const uint32_t* weights;
  int64_t weights_stride;
  float* out;
  int64_t out_stride;
};

// Adds the values of keys [begin, end), for R tiles of queries and C of head elements from `at` on.
template <class Tiles, int R, int C>
void tile_values(const Flash& f, const WeightedRows& rows, int begin, int end, int at) {
  const auto out = [&](int r, int c) {
    auto* row = reinterpret_cast<std::byte*>(rows.out) + r * kTileRows * rows.out_stride;
    return reinterpret_cast<float*>(row) + at + c * kTileRows;
  };
  unrolled<R>([&](auto r) {
    unrolled<C>(
        [&](auto c) { Tiles::template load<2 * r() + c()>(out(r(), c()), rows.out_stride); });
  });
  for (int j = begin; j < end; j += kFlashStep) {
    unrolled<C>([&](auto c) {
      const uint32_t* values = f.v + j / 2 * f.columns + at + c() * kTileRows;
      Tiles::template load<6 + c()>(values, int64_t{f.columns} * 4);
    });
    unrolled<R>([&](auto r) {
      const auto* weights = reinterpret_cast<const std::byte*>(rows.weights + j / 2);
      Tiles::template load<4 + r()>(weights + r() * kTileRows * rows.weights_stride,
                                    rows.weights_stride);
      unrolled<C>(
          [&](auto c) { Tiles::template multiply_bf16<2 * r() + c(), 4 + r(), 6 + c()>(); });
    });
  }
  unrolled<R>([&](auto r) {
    unrolled<C>(
        [&](auto c) { Tiles::template store<2 * r() + c()>(out(r(), c()), rows.out_stride); });
  });
}

template <class Tiles, int R>
void tile_values_of_head(const Flash& f, const WeightedRows& rows, int begin, int end) {
  int at = 0;
  for (; at + 2 * kTileRows <= f.columns; at += 2 * kTileRows) {
    tile_values<Tiles, R, 2>(f, rows, begin, end, at);
  }
  if (at < f.columns) tile_values<Tiles, R, 1>(f, rows, begin, end, at);
}

// Some queries within a step of the softmax.
struct FlashTile {
  int query;  // the first
  int count;
  int block;  // of keys
  int keys;   // of the block
  int begin;  // keys of the block that some of the queries see, in whole steps
  int end;

  FlashTile(const AttentionRows& a, const Flash& f, int first, int first_key, int key_count)
      : query(first),
        count(std::min(kFlashTileQueries, f.queries - first)),
        block(first_key),
        keys(key_count),
        begin(kFlashKeys),
        end(0) {
    for (int r = 0; r < count; ++r) {
      const Seen<1> seen(a, query + r, block, keys);
      begin = std::min(begin, seen.lowest / kFlashStep * kFlashStep);
      end = std::max(end, (seen.highest + kFlashStep - 1) / kFlashStep * kFlashStep);
    }
  }
};

// The highest of each query's scores where it sees the whole block; else flash_peaks() finds it.
template <int R>
void tile_highest(const Flash& f, const Seen<R>& seen, __m512* highest) {
  std::fill(highest, highest + R, _mm512_set1_ps(-std::numeric_limits<float>::infinity()));
  if (seen.ragged) return;
  for (int r = 0; r < R; ++r) {
    const float* scores = f.scores + r * kFlashKeys;
    for (int j = 0; j < kFlashKeys; j += kLanes16) {
      highest[r] = _mm512_max_ps(highest[r], _mm512_load_ps(scores + j));
    }
  }
}

// Scores of R queries from number `row` of the tile on become weights, and sums take `shrink`.
template <int R>
void tile_softmax(const AttentionRows& a, const Flash& f, const FlashTile& tile, int row) {
  const int query = tile.query + row;
  const Seen<R> seen(a, query, tile.block, tile.keys);
  if (seen.lowest >= seen.highest) return;
  Flash part = f;
  part.scores += row * kFlashKeys;
  part.weights += row * kFlashKeys / 2;
  alignas(64) float peaks[kLanes16] = {};
  alignas(64) float shrink[kLanes16];
  std::copy(f.peaks + query, f.peaks + query + R, peaks);
  __m512 highest[R];
  tile_highest<R>(part, seen, highest);
  flash_peaks<R>(a, part, seen, query, tile.block, highest, peaks);
  flash_weights<R>(part, query, seen, peaks, shrink);
  for (int r = 0; r < R; ++r) {
    if (shrink[r] == 1) continue;
    float* out = f.out + (query + r) * f.columns;
    const __m512 factor = _mm512_set1_ps(shrink[r]);
    for (int d = 0; d < f.columns; d += kLanes16) {
      _mm512_store_ps(out + d, _mm512_mul_ps(_mm512_load_ps(out + d), factor));
    }
  }
}

void tile_softmax_of_all(const AttentionRows& a, const Flash& f, const FlashTile& tile) {
  // A query writes weights where its neighbours see keys; the others see more, or are missing.
  std::fill(f.weights, f.weights + kFlashTileQueries * kFlashKeys / 2, 0u);
  int row = 0;
  for (; row + kTileRows <= tile.count; row += kTileRows) tile_softmax<kTileRows>(a, f, tile, row);
  for (; row + 4 <= tile.count; row += 4) tile_softmax<4>(a, f, tile, row);
  for (; row < tile.count; ++row) tile_softmax<1>(a, f, tile, row);
}

// Where a value is not a finite number, each query meets its own values alone: one row, as all rows
// of a tile.
template <class Tiles>
void tile_values_one_by_one(const AttentionRows& a, const Flash& f, const FlashTile& tile) {
  for (int r = 0; r < tile.count; ++r) {
    const Seen<1> seen(a, tile.query + r, tile.block, tile.keys);
    if (seen.lowest >= seen.highest) continue;
    pack_values(a, f, tile.block, seen.begin[0], seen.end[0], tile.keys);
    const WeightedRows row{f.weights + r * kFlashKeys / 2, 0, f.out + (tile.query + r) * f.columns,
                           0};
    tile_values_of_head<Tiles, 1>(f, row, tile.begin, tile.end);
  }
}

template <class Tiles, int R>
void tile_queries(const AttentionRows& a, const Flash& f, const FlashTile& tile, bool finite) {
  for (int key = tile.begin; key < tile.end; key += kFlashStep) {
    tile_scores<Tiles, R>(f, tile.query, key);
  }
  tile_softmax_of_all(a, f, tile);
  if (!finite) return tile_values_one_by_one<Tiles>(a, f, tile);
  const WeightedRows rows{f.weights, kFlashKeys * 2, f.out + tile.query * f.columns,
                          int64_t{f.columns} * 4};
  tile_values_of_head<Tiles, R>(f, rows, tile.begin, tile.end);
}

// Keys from `block` on, of those up to `last`.
template <class Tiles>
void tile_block(const AttentionRows& a, const Flash& f, int block, int last) {
  const int keys = std::min(kFlashKeys, last - block);
  pack_keys(a, f, block, keys);
  const bool finite = pack_values(a, f, block, 0, keys, keys);
  // The last step's tiles end behind the last key.
  std::fill(f.v + (keys + 1) / 2 * f.columns,
            f.v + (keys + kFlashStep - 1) / kFlashStep * kFlashStep / 2 * f.columns, 0u);
  const int tiles = (f.queries + kFlashTileQueries - 1) / kFlashTileQueries;
  for (int i = 0; i < tiles; ++i) {
    flash_fetch(a, block, last, i, tiles);
    const FlashTile tile(a, f, i * kFlashTileQueries, block, keys);
    if (tile.begin >= tile.end) continue;
    tile.count > kTileRows ? tile_queries<Tiles, 2>(a, f, tile, finite)
                           : tile_queries<Tiles, 1>(a, f, tile, finite);
  }
}

template <class Tiles>
void tile_attend(const AttentionRows& a, float* scratch) {
  const typename Tiles::Session session;
  const Flash f = tile_flash(a, scratch);
  flash_attend(a, f, [&](int block, int last) { tile_block<Tiles>(a, f, block, last); });
}
