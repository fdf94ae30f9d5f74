// Attention of the AMX variant, against a softmax in double and against itself.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/isa/amx_fixture.h"
#include "support/guarded_memory.h"

namespace fovea::kernels::isa {
namespace {

class AmxAttention : public OnTiles {};
INSTANTIATE_ON_TILES(AmxAttention);

std::vector<float> random_floats(size_t count) {
  static std::mt19937 engine(9);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

double rounded(float x) {
  uint16_t half = 0;
  find_table("scalar")->round_to_bf16(&x, 1, &half);
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Heads that share one key head; keys from the first on.
struct Case {
  int rows;
  int group;
  int head_dim;
  int last_key;  // one past the last that row 0 sees
  int key_step;
  int window = 0;
  float softcap = 0;
  KeyRange span = {};  // rows

  int keys() const { return last_key + (rows - 1) * key_step; }
  // What row i sees.
  // A span of rows sees its first key to its last.
  bool in_span(int i) const { return i >= span.begin && i < span.end; }
  int begin(int i) const { return window > 0 ? std::max(0, end(i) - window) : 0; }
  int end(int i) const { return last_key + (in_span(i) ? span.end - 1 : i) * key_step; }
};

struct Data {
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> v;
  std::vector<float> mask;   // of rows and heads; empty for none
  std::vector<float> sinks;  // of heads; empty for none

  explicit Data(const Case& c)
      : q(random_floats(size_t(c.rows) * c.group * c.head_dim)),
        k(random_floats(size_t(c.keys()) * c.head_dim)),
        v(random_floats(size_t(c.keys()) * c.head_dim)) {}
};

// Keys or values as they are stored.
struct Stored {
  KvType type = KvType::kF32;
  int64_t stride = 0;
  std::vector<std::byte> bytes;

  static constexpr int kGroup = 32;

  Stored(const std::vector<float>& x, int dim, KvType wanted) : type(wanted) {
    const auto& table = *find_table("scalar");
    const int codes = (dim + 31) / 32 * 32;
    stride = type == KvType::kF32    ? int64_t{dim} * 4
             : type == KvType::kBF16 ? int64_t{dim} * 2
                                     : codes + codes / kGroup * 8;
    const int64_t rows = static_cast<int64_t>(x.size()) / dim;
    bytes.resize(static_cast<size_t>(rows * stride));
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = x.data() + i * dim;
      std::byte* to = bytes.data() + i * stride;
      if (type == KvType::kF32) std::memcpy(to, from, static_cast<size_t>(stride));
      if (type == KvType::kBF16) {
        std::vector<uint16_t> halves(dim);
        table.round_to_bf16(from, halves.size(), halves.data());
        std::memcpy(to, halves.data(), static_cast<size_t>(stride));
      }
      if (type == KvType::kBytes) table.quantize_kv(from, dim, kGroup, to);
    }
  }
};

// What 8 bits leave of values (kernels/kv_bytes.h).
std::vector<float> after_bytes(const std::vector<float>& x, int dim) {
  const Stored stored(x, dim, KvType::kBytes);
  std::vector<float> y;
  for (size_t i = 0; i < x.size(); ++i) {
    const std::byte* row = stored.bytes.data() + static_cast<int64_t>(i) / dim * stored.stride;
    const int d = static_cast<int>(i % dim);
    float of_group[2];
    std::memcpy(of_group, row + (dim + 31) / 32 * 32 + d / Stored::kGroup * 8, sizeof(of_group));
    y.push_back(std::fma(static_cast<float>(row[d]), of_group[0], of_group[1]));
  }
  return y;
}

// Rows [begin, end) of a case.
std::vector<float> attend(const Table& table, const Case& c, const Data& data, int begin, int end,
                          KvType type = KvType::kF32) {
  const int stride = c.group * c.head_dim;
  std::vector<float> out(static_cast<size_t>(end - begin) * stride);
  std::vector<KeyRange> seen;
  for (int i = begin; i < end; ++i) seen.push_back({c.begin(i), c.end(i)});
  // In places of 128 keys, as caches have them.
  std::vector<const void*> k;
  std::vector<const void*> v;
  const Stored keys(data.k, c.head_dim, type);
  const Stored values(data.v, c.head_dim, type);
  for (int key = 0; key < c.keys(); key += kPlaceKeys) {
    k.push_back(keys.bytes.data() + key * keys.stride);
    v.push_back(values.bytes.data() + key * values.stride);
  }
  AttentionRows rows;
  rows.q = data.q.data() + begin * stride;
  rows.q_stride = stride;
  rows.q_head_stride = c.head_dim;
  rows.out = out.data();
  rows.out_stride = stride;
  rows.rows = end - begin;
  rows.group = c.group;
  rows.head_dim = c.head_dim;
  rows.k = k.data();
  rows.v = v.data();
  rows.place_keys = kPlaceKeys;
  rows.k_stride = rows.v_stride = keys.stride;
  rows.kv_type = type;
  rows.kv_group = Stored::kGroup;
  rows.seen = seen.data();
  rows.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  rows.softcap = c.softcap;
  if (!data.mask.empty()) {
    rows.mask = data.mask.data() + int64_t{begin} * c.group * c.keys();
    rows.mask_stride = int64_t{c.group} * c.keys();
    rows.mask_head_stride = c.keys();
  }
  if (!data.sinks.empty()) rows.sinks = data.sinks.data();
  // Ends with its page, as it is promised to suffice.
  const std::vector<float> nothing(attend_bf16_floats(c.head_dim), NAN);
  const testing::GuardedMemory scratch(nothing.data(), nothing.size() * sizeof(float));
  table.attend_bf16(rows, reinterpret_cast<float*>(scratch.data()));
  EXPECT_FALSE(TileEmulator::here().is_configured());
  return out;
}

std::vector<float> attend(const Table& table, const Case& c, const Data& data) {
  return attend(table, c, data, 0, c.rows);
}

// One head's row in double, of rounded keys and values, and of queries that are rounded when their
// scores come out in units of ln 2.
std::vector<double> expected(const Case& c, const Data& data, int row, int head) {
  const float* q = data.q.data() + (row * c.group + head) * c.head_dim;
  const double unit = std::log(2.0);
  const float scale = 1 / std::sqrt(static_cast<float>(c.head_dim)) / static_cast<float>(unit);
  std::vector<double> weights;
  double total = 0;
  for (int j = c.begin(row); j < c.end(row); ++j) {
    double score = 0;
    for (int d = 0; d < c.head_dim; ++d) {
      score += rounded(q[d] * scale) * rounded(data.k[size_t(j) * c.head_dim + d]);
    }
    score *= unit;
    if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
    if (!data.mask.empty()) score += data.mask[(size_t(row) * c.group + head) * c.keys() + j];
    weights.push_back(std::exp(score));
    total += weights.back();
  }
  if (!data.sinks.empty()) total += std::exp(double{data.sinks[head]});
  std::vector<double> out(c.head_dim);
  for (int j = c.begin(row); j < c.end(row); ++j) {
    for (int d = 0; d < c.head_dim; ++d) {
      out[d] += weights[j - c.begin(row)] / total * rounded(data.v[size_t(j) * c.head_dim + d]);
    }
  }
  return out;
}

void expect_right(const Table& table, const Case& c, const Data& data) {
  const auto out = attend(table, c, data);
  for (int i = 0; i < c.rows; ++i) {
    for (int h = 0; h < c.group; ++h) {
      const auto right = expected(c, data, i, h);
      for (int d = 0; d < c.head_dim; ++d) {
        // Weights are rounded: 2^-9 of each.
        ASSERT_NEAR(out[(size_t(i) * c.group + h) * c.head_dim + d], right[d], 6e-3)
            << "row " << i << " head " << h << " element " << d << " of size " << c.head_dim
            << " keys " << c.last_key << " window " << c.window;
      }
    }
  }
}

void expect_right(const Table& table, const Case& c) { expect_right(table, c, Data(c)); }

TEST_P(AmxAttention, MatchesASoftmaxInDouble) {
  for (const int d : {1, 8, 20, 64, 72, 80, 128, 256}) {
    for (const int keys : {1, 31, 33, 128, 129}) {
      expect_right(amx(), {7, 3, d, keys, 1});        // a prompt
      expect_right(amx(), {19, 1, d, keys, 0});       // a picture
      expect_right(amx(), {5, 2, d, keys, 1, 17});    // a window
      expect_right(amx(), {5, 2, d, keys, 1, 0, 3});  // a cap
    }
  }
}

TEST_P(AmxAttention, AddsAMask) {
  for (const Case& c : {Case{7, 3, 64, 130, 1}, Case{20, 1, 40, 150, 0}}) {
    Data data(c);
    data.mask = random_floats(size_t(c.rows) * c.group * c.keys());
    expect_right(amx(), c, data);
  }
}

TEST_P(AmxAttention, AMaskThatHidesABlockOrAllKeysOfARow) {
  const Case c{18, 2, 32, 260, 1};
  Data data(c);
  data.mask.assign(size_t(c.rows) * c.group * c.keys(), 0);
  const auto row_mask = [&](int i, int h) {
    return data.mask.begin() + (int64_t{i} * c.group + h) * c.keys();
  };
  std::fill_n(row_mask(3, 1), 128, -INFINITY);
  expect_right(amx(), c, data);
  std::fill_n(row_mask(17, 0), c.keys(), -INFINITY);
  const auto out = attend(amx(), c, data);
  for (int d = 0; d < 32; ++d) EXPECT_EQ(out[17 * 2 * 32 + d], 0) << d;
}

TEST_P(AmxAttention, GivesSinksTheirShare) {
  for (const int keys : {1, 140}) {
    const Case c{9, 3, 64, keys, 1};
    Data data(c);
    data.sinks = {-1, 2, 8};
    expect_right(amx(), c, data);
  }
}

TEST_P(AmxAttention, RowsOfASpanSeeEachOther) {
  for (const int window : {0, 40}) {
    expect_right(amx(), {40, 2, 48, 100, 1, window, 0, {5, 38}});
    expect_right(amx(), {150, 1, 32, 1, 1, window, 0, {0, 140}});
  }
}

TEST_P(AmxAttention, ReadsKeysAndValuesAsTheyAreStored) {
  for (const int d : {20, 64, 72, 80}) {
    const Case c{21, 2, d, 140, 1};
    const Data data(c);
    const auto right = attend(amx(), c, data);
    EXPECT_EQ(attend(amx(), c, data, 0, c.rows, KvType::kBF16), right) << d;
    Data coarse = data;
    coarse.k = after_bytes(data.k, d);
    coarse.v = after_bytes(data.v, d);
    EXPECT_EQ(attend(amx(), c, data, 0, c.rows, KvType::kBytes), attend(amx(), c, coarse)) << d;
  }
}

TEST_P(AmxAttention, TakesAsManyQueriesAsAPieceHas) {
  expect_right(amx(), {kFlashQueries, 1, 32, 5, 1});
  expect_right(amx(), {32, 6, 48, 200, 1, 150});
  expect_right(amx(), {1, 1, 64, 300, 0});
}

void expect_chunks_alike(const Table& table, const Case& c, std::initializer_list<int> chunks) {
  const Data data(c);
  const auto whole = attend(table, c, data);
  for (const int chunk : chunks) {
    std::vector<float> parts;
    for (int at = 0; at < c.rows; at += chunk) {
      const auto part = attend(table, c, data, at, std::min(c.rows, at + chunk));
      parts.insert(parts.end(), part.begin(), part.end());
    }
    ASSERT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * 4), 0)
        << "chunks of " << chunk << " head size " << c.head_dim << " window " << c.window;
  }
}

TEST_P(AmxAttention, ChunkingDoesNotChangeBits) {
  for (const int d : {40, 64, 72}) {
    for (const int window : {0, 37}) {
      expect_chunks_alike(amx(), {96, 2, d, 90, 1, window},
                          {1, 2, 3, 5, 7, 16, 17, 31, 32, 33, 64});
    }
  }
  for (int chunk = 1; chunk < 64; ++chunk) expect_chunks_alike(amx(), {64, 1, 32, 1, 1}, {chunk});
}

TEST_P(AmxAttention, ALaterKeyDoesNotTouchEarlierRows) {
  const Case c{40, 2, 48, 100, 1};
  const Data clean(c);
  const auto right = attend(amx(), c, clean);
  const auto seen_by_all_but_one = std::vector<float>(right.begin(), right.end() - 2 * 48);
  for (const bool values : {false, true}) {
    Data data = clean;
    (values ? data.v : data.k)[size_t(c.keys() - 1) * 48 + 5] = NAN;
    const auto out = attend(amx(), c, data);
    EXPECT_EQ(std::vector<float>(out.begin(), out.end() - 2 * 48), seen_by_all_but_one)
        << (values ? "values" : "keys");
    for (size_t i = out.size() - 2 * 48; i < out.size(); ++i) {
      const bool touched = !values || i % 48 == 5;
      EXPECT_EQ(std::isnan(out[i]), touched) << i;
    }
  }
}

TEST_P(AmxAttention, AnInfiniteValueReachesWhoSeesItOnly) {
  // In a block that is followed by a shorter one, where all see it, and in the last.
  for (const int key : {60, 130}) {
    const Case c{40, 1, 32, 140, 1, key == 60 ? 0 : 30};
    const Data clean(c);
    const auto right = attend(amx(), c, clean);
    Data data = clean;
    data.v[size_t(key) * 32 + 7] = INFINITY;
    const auto out = attend(amx(), c, data);
    for (int i = 0; i < c.rows; ++i) {
      const bool sees = c.begin(i) <= key && key < c.end(i);
      for (int d = 0; d < 32; ++d) {
        const float got = out[size_t(i) * 32 + d];
        const float wanted = sees && d == 7 ? INFINITY : right[size_t(i) * 32 + d];
        ASSERT_EQ(got, wanted) << "key " << key << " row " << i << " element " << d;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::kernels::isa
