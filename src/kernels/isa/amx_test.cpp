// The AMX variant, against sums in double and against itself: the bits of a row must not depend on
// its company.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "kernels/isa/amx_fixture.h"
#include "support/guarded_memory.h"

namespace fovea::kernels::isa {
namespace {

using testing::GuardedMemory;

class Amx : public OnTiles {};
INSTANTIATE_ON_TILES(Amx);

std::vector<float> random_floats(size_t count) {
  static std::mt19937 engine(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

std::vector<uint16_t> rounded(const std::vector<float>& x) {
  std::vector<uint16_t> halves(x.size());
  find_table("scalar")->round_to_bf16(x.data(), x.size(), halves.data());
  return halves;
}

double wide(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

float* aligned(std::vector<float>& memory, size_t count) {
  memory.resize(count + 16);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return memory.data() + (64 - address % 64) % 64 / 4;
}

// N rows of K weights that end with their page, so that they begin at odd addresses. With scales
// that are kE8M0 or kE4M3, the values are floats.
struct Weights {
  WeightRows rows;
  int n;
  std::mt19937 engine{5};
  std::vector<std::unique_ptr<GuardedMemory>> owned;

  Weights(int n_count, int k, int bits, int group, Float dtype) : n(n_count) {
    rows.k = k;
    rows.bits = bits;
    rows.group_size = group;
    rows.dtype = dtype;
    rows.floats = dtype == Float::kE8M0 || dtype == Float::kE4M3;
    const auto count = static_cast<size_t>(n) * static_cast<size_t>(k);
    if (bits == 0) {
      const auto values = random_floats(count);
      rows.data = dtype == Float::kF32 ? keep(values.data(), count * 4) : halves(count);
      return;
    }
    // 0x7f would not be a number where bytes are floats.
    rows.data =
        bytes(count * static_cast<size_t>(bits) / 8, 0, rows.floats && bits == 8 ? 0xf7 : 0xff);
    const size_t groups = count / static_cast<size_t>(group);
    if (rows.floats) {
      rows.scales = dtype == Float::kE8M0 ? bytes(groups, 120, 7) : bytes(groups, 0, 0x77);
    } else {
      rows.scales = halves(groups);
      rows.biases = halves(groups);
    }
  }
  // Of both signs, and of a size that is normal in bfloat16 and float16.
  const void* halves(size_t count) {
    std::vector<uint16_t> out(count);
    for (auto& half : out) {
      half = static_cast<uint16_t>((0x3000 + engine() % 0xc00) | (engine() & 0x8000));
    }
    return keep(out.data(), count * 2);
  }
  const void* bytes(size_t count, int base, uint32_t mask) {
    std::vector<uint8_t> out(count);
    for (auto& byte : out) byte = static_cast<uint8_t>(base + static_cast<int>(engine() & mask));
    return keep(out.data(), count);
  }
  const void* keep(const void* bytes, size_t count) {
    owned.push_back(std::make_unique<GuardedMemory>(bytes, count));
    return owned.back()->data();
  }
  // Of row i, as products see them.
  std::vector<uint16_t> row(int i) const {
    std::vector<float> values(static_cast<size_t>(rows.k));
    find_table("scalar")->expand_row(rows, i, values.data());
    return rounded(values);
  }

  int outputs() const { return rows.turned_rows != 0 ? rows.k : n; }
  // The weights of every output.
  std::vector<std::vector<uint16_t>> of_outputs() const {
    std::vector<std::vector<uint16_t>> all;
    for (int i = 0; i < n; ++i) all.push_back(row(i));
    if (rows.turned_rows == 0) return all;
    std::vector<std::vector<uint16_t>> turned(static_cast<size_t>(rows.k));
    for (int k = 0; k < rows.k; ++k) {
      for (const auto& one : all) turned[k].push_back(one[k]);
    }
    return turned;
  }
};

// The same weights with their rows as inputs.
Weights turned(Weights w) {
  w.rows.turned_rows = w.n;
  return w;
}

struct Columns {
  int begin;
  int end;
};

// Rows of x from `first` on, with the columns cut as told.
std::vector<float> product(const Table& table, const Weights& w, const std::vector<float>& x,
                           int first, int rows, const float* bias,
                           const std::vector<Columns>& cuts) {
  const auto& how = table.prompt_bf16;
  const size_t block_bytes = how.block_bytes(w.rows);
  const int blocks = (rows + how.block_rows - 1) / how.block_rows;
  std::vector<float> memory;
  auto* prepared =
      reinterpret_cast<std::byte*>(aligned(memory, block_bytes * static_cast<size_t>(blocks) / 4));
  for (int b = 0; b < blocks; ++b) {
    const int row = b * how.block_rows;
    how.prepare(x.data() + int64_t{first + row} * w.rows.inputs(),
                std::min(how.block_rows, rows - row), w.rows,
                prepared + static_cast<size_t>(b) * block_bytes);
  }
  std::vector<float> scratch;
  float* room = aligned(scratch, how.scratch_bytes / 4);
  const int n_all = w.outputs();
  const int64_t stride = n_all + 3;
  std::vector<float> y(static_cast<size_t>(rows * stride), -7);
  PromptProduct p;
  p.x = prepared;
  p.rows = rows;
  p.n = n_all;
  p.w = w.rows;
  p.bias = bias;
  p.y = y.data();
  p.y_stride = stride;
  for (const auto [begin, end] : cuts) {
    how.product(p, begin, end, reinterpret_cast<std::byte*>(room));
  }
  for (int m = 0; m < rows; ++m) {
    for (int64_t n = n_all; n < stride; ++n) EXPECT_EQ(y[m * stride + n], -7) << "behind row " << m;
    std::copy_n(y.begin() + m * stride, n_all, y.begin() + int64_t{m} * n_all);
  }
  y.resize(static_cast<size_t>(rows) * static_cast<size_t>(n_all));
  return y;
}

std::vector<float> product(const Table& table, const Weights& w, const std::vector<float>& x,
                           int rows) {
  return product(table, w, x, 0, rows, nullptr, {{0, w.outputs()}});
}

void expect_right(const Table& table, const Weights& w, int rows, const std::string& what) {
  const int inputs = w.rows.inputs();
  const int outputs = w.outputs();
  const auto x = random_floats(static_cast<size_t>(rows) * static_cast<size_t>(inputs));
  const auto bias = random_floats(static_cast<size_t>(outputs));
  const auto y = product(table, w, x, 0, rows, bias.data(), {{0, outputs}});
  const auto halves = rounded(x);
  const auto all = w.of_outputs();
  for (int n = 0; n < outputs; ++n) {
    const auto& weights = all[n];
    for (int m = 0; m < rows; ++m) {
      double sum = bias[n];
      double size = std::abs(bias[n]);
      for (int k = 0; k < inputs; ++k) {
        const double term = wide(halves[int64_t{m} * inputs + k]) * wide(weights[k]);
        sum += term;
        size += std::abs(term);
      }
      ASSERT_NEAR(y[int64_t{m} * outputs + n], sum, 1e-6 * size)
          << what << " row " << m << " column " << n;
    }
  }
}

TEST_P(Amx, PromptProductsOfDenseWeights) {
  for (const auto dtype : {Float::kBF16, Float::kF16}) {
    for (const int k : {1, 31, 32, 33, 77, 160, 512, 544, 1031}) {
      for (const int n : {1, 16, 19, 64}) {
        const Weights w(n, k, 0, 0, dtype);
        for (const int rows : {1, 2, 16, 17, 32, 33, 50}) {
          expect_right(amx(), w, rows, "k " + std::to_string(k));
        }
      }
    }
  }
}

TEST_P(Amx, PromptProductsOfQuantizedWeights) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const int k : {group, 5 * group, 1152}) {
        const Weights w(21, k, bits, group, bits % 2 ? Float::kBF16 : Float::kF16);
        for (const int rows : {1, 18}) expect_right(amx(), w, rows, std::to_string(bits) + " bits");
      }
    }
  }
}

TEST_P(Amx, PromptProductsOfMicroscaledWeights) {
  struct Kind {
    int bits;
    int group;
    Float scales;
  };
  for (const auto& [bits, group, scales] :
       {Kind{4, 32, Float::kE8M0}, Kind{4, 16, Float::kE4M3}, Kind{8, 32, Float::kE8M0}}) {
    for (const int k : {group, 3 * group, 1152}) {
      const Weights w(21, k, bits, group, scales);
      for (const int rows : {1, 18}) {
        expect_right(amx(), w, rows, "group " + std::to_string(group) + " k " + std::to_string(k));
      }
    }
  }
}

TEST_P(Amx, PromptProductsOfTurnedWeights) {
  for (const int inputs : {1, 31, 64, 77, 544}) {
    for (const int outputs : {1, 17, 70}) {
      expect_right(amx(), turned(Weights(inputs, outputs, 0, 0, Float::kF32)), 18, "float32");
      expect_right(amx(), turned(Weights(inputs, outputs, 0, 0, Float::kBF16)), 33, "bfloat16");
    }
    expect_right(amx(), turned(Weights(inputs, 320, 4, 64, Float::kBF16)), 18, "4 bits");
    expect_right(amx(), turned(Weights(inputs, 96, 3, 32, Float::kF16)), 18, "3 bits");
    expect_right(amx(), turned(Weights(inputs, 96, 4, 32, Float::kE8M0)), 18, "mxfp4");
  }
}

TEST_P(Amx, ColumnsAreRowsTurned) {
  for (const int inputs : {1, 31, 64, 77}) {
    const Weights w = turned(Weights(inputs, 5, 0, 0, Float::kF32));
    const auto& how = amx().prompt_bf16;
    const size_t bytes = how.block_bytes(w.rows);
    for (const int rows : {1, 15, 16}) {
      const auto x = random_floats(static_cast<size_t>(rows) * static_cast<size_t>(inputs));
      const int stride = rows + 2;
      std::vector<float> columns(static_cast<size_t>(stride) * static_cast<size_t>(inputs));
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < inputs; ++i) columns[i * stride + r] = x[r * inputs + i];
      }
      std::vector<float> memory(bytes / 4, -1);
      std::vector<float> turned_memory(bytes / 4, -2);
      auto* from_rows = reinterpret_cast<std::byte*>(aligned(memory, bytes / 4));
      auto* from_columns = reinterpret_cast<std::byte*>(aligned(turned_memory, bytes / 4));
      how.prepare(x.data(), rows, w.rows, from_rows);
      how.prepare_turned(columns.data(), stride, rows, w.rows, from_columns);
      EXPECT_EQ(std::memcmp(from_rows, from_columns, bytes), 0) << inputs << " inputs " << rows;
    }
  }
}

TEST_P(Amx, PromptProductsBeyondOnePanelAndOneBlockOfRows) {
  expect_right(amx(), Weights(273, 96, 0, 0, Float::kBF16), 20, "panels");
  expect_right(amx(), Weights(17, 64, 4, 64, Float::kBF16), 530, "blocks of rows");
  expect_right(amx(), Weights(3, 32, 0, 0, Float::kBF16), 1100, "three blocks of rows");
}

TEST_P(Amx, APromptRowKeepsItsBitsInAnyCompany) {
  for (const int bits : {0, 3, 4, 8}) {
    const Weights w(37, 704, bits, 64, Float::kBF16);
    const auto x = random_floats(64 * 704);
    const auto all = product(amx(), w, x, 64);
    for (int m = 1; m <= 64; ++m) {
      const auto last = product(amx(), w, x, 64 - m, m, nullptr, {{0, w.n}});
      ASSERT_EQ(last, std::vector<float>(all.end() - int64_t{m} * w.n, all.end()))
          << bits << " bits, the last " << m;
    }
  }
}

TEST_P(Amx, APromptRowKeepsItsBitsBesideHundreds) {
  const Weights w(20, 64, 4, 64, Float::kBF16);
  const auto x = random_floats(700 * 64);
  const auto all = product(amx(), w, x, 700);
  for (const int m : {0, 15, 16, 351, 352, 511, 512, 699}) {
    const auto one = product(amx(), w, x, m, 1, nullptr, {{0, w.n}});
    EXPECT_EQ(
        one, std::vector<float>(all.begin() + int64_t{m} * w.n, all.begin() + int64_t{m + 1} * w.n))
        << m;
  }
}

TEST_P(Amx, PromptProductsDoNotDependOnTheCutOfTheColumns) {
  for (const int bits : {0, 4}) {
    const Weights w(300, 96, bits, 32, Float::kBF16);
    const auto x = random_floats(20 * 96);
    const auto whole = product(amx(), w, x, 20);
    for (const int cut : {1, 15, 16, 17, 32, 100, 256, 299}) {
      EXPECT_EQ(product(amx(), w, x, 0, 20, nullptr, {{cut, 300}, {0, cut}}), whole) << cut;
    }
  }
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGeluExact:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    default:
      return x;
  }
}

TEST_P(Amx, PromptProductsEndWithActivationAndGate) {
  const int rows = 35;
  const Weights w(40, 64, 4, 32, Float::kBF16);
  const Weights gate(40, 64, 4, 32, Float::kBF16);
  const auto x = random_floats(size_t{rows} * 64);
  const auto bias = random_floats(40);
  const auto gate_bias = random_floats(40);
  const auto plain = product(amx(), w, x, 0, rows, bias.data(), {{0, 40}});
  const auto plain_gate = product(amx(), gate, x, 0, rows, gate_bias.data(), {{0, 40}});
  const auto& how = amx().prompt_bf16;
  std::vector<float> memory;
  auto* prepared = reinterpret_cast<std::byte*>(aligned(memory, how.block_bytes(w.rows) * 3 / 4));
  for (int b = 0; b < 3; ++b) {
    how.prepare(x.data() + b * 16 * 64, std::min(16, rows - b * 16), w.rows,
                prepared + b * how.block_bytes(w.rows));
  }
  std::vector<float> scratch;
  auto* room = reinterpret_cast<std::byte*>(aligned(scratch, how.scratch_bytes / 4));
  for (const bool gated : {false, true}) {
    for (const auto activation : {Activation::kNone, Activation::kSilu, Activation::kGeluExact}) {
      std::vector<float> y(size_t{rows} * 40);
      PromptProduct p;
      p.x = prepared;
      p.rows = rows;
      p.n = 40;
      p.w = w.rows;
      p.bias = bias.data();
      if (gated) p.gate = &gate.rows;
      p.gate_bias = gate_bias.data();
      p.activation = activation;
      p.y = y.data();
      p.y_stride = 40;
      how.product(p, 0, 40, room);
      for (size_t i = 0; i < y.size(); ++i) {
        const double expected = gated ? activated(activation, plain_gate[i]) * plain[i]
                                      : activated(activation, plain[i]);
        ASSERT_NEAR(y[i], expected, 1e-5 * (std::abs(expected) + 1)) << i;
      }
    }
  }
}

TEST_P(Amx, ProductsAreBitsOfAFixedChain) {
  // 32 inputs after another; of each the even and the odd products apart.
  const Weights w(5, 77, 0, 0, Float::kBF16);
  const auto x = random_floats(3 * 77);
  const auto halves = rounded(x);
  const auto y = product(amx(), w, x, 3);
  for (int n = 0; n < 5; ++n) {
    const auto weights = w.row(n);
    for (int m = 0; m < 3; ++m) {
      float sum = 0;
      for (int k = 0; k < 77; k += 32) {
        float parts[2] = {};
        for (int i = k; i < std::min(k + 32, 77); ++i) {
          const auto a = static_cast<float>(wide(weights[i]));
          const auto b = static_cast<float>(wide(halves[m * 77 + i]));
          parts[i % 2] = std::fma(a, b, parts[i % 2]);
        }
        sum += parts[0] + parts[1];
      }
      EXPECT_EQ(y[m * 5 + n], sum);
    }
  }
}

TEST_P(Amx, TilesAreConfiguredOnEveryThreadAndReleasedAfterwards) {
  const Weights w(16, 64, 4, 32, Float::kBF16);
  const auto x = random_floats(64);
  const auto here = product(amx(), w, x, 1);
  EXPECT_FALSE(TileEmulator::here().is_configured());
  std::vector<float> there;
  std::thread([&] { there = product(amx(), w, x, 1); }).join();
  EXPECT_EQ(here, there);
}

TEST_P(Amx, ANotFiniteActivationReachesItsRowOnly) {
  const Weights w(18, 64, 0, 0, Float::kBF16);
  auto x = random_floats(20 * 64);
  const auto clean = product(amx(), w, x, 20);
  x[7 * 64 + 5] = NAN;
  const auto y = product(amx(), w, x, 20);
  for (int m = 0; m < 20; ++m) {
    for (int n = 0; n < 18; ++n) {
      const float got = y[m * 18 + n];
      if (m == 7) {
        EXPECT_TRUE(std::isnan(got)) << n;
      } else {
        EXPECT_EQ(got, clean[m * 18 + n]) << m;
      }
    }
  }
}

// Rows [first, first + rows) of x.
std::vector<float> decode_product(const Table& table, const Weights& w, const std::vector<float>& x,
                                  int first, int rows, const std::vector<Columns>& cuts) {
  const auto bias = std::vector<float>(x.begin(), x.begin() + w.n);
  const size_t row_bytes = table.decode_row_bytes(w.rows);
  std::vector<float> memory;
  auto* prepared =
      reinterpret_cast<std::byte*>(aligned(memory, row_bytes * static_cast<size_t>(rows) / 4));
  for (int m = 0; m < rows; ++m) {
    table.prepare_decode_row(x.data() + int64_t{first + m} * w.rows.k, w.rows,
                             prepared + static_cast<size_t>(m) * row_bytes);
  }
  // Nothing is read behind the last row.
  const GuardedMemory guarded(prepared, row_bytes * static_cast<size_t>(rows));
  const int64_t stride = w.n + 3;
  std::vector<float> y(static_cast<size_t>(rows * stride), -7);
  for (const auto [begin, end] : cuts) {
    table.decode_product(guarded.data(), rows, w.rows, begin, end, bias.data(), y.data(), stride);
  }
  return y;
}

TEST_P(Amx, DecodeProductsHaveTheBitsOfTheOthers) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const int k : {group, 3 * group, 35 * group}) {
        const Weights w(21, k, bits, group, bits % 2 ? Float::kF16 : Float::kBF16);
        const auto x = random_floats(size_t{40} * static_cast<size_t>(k));
        for (const int rows : {7, 8, 9, 16, 17, 33, 40}) {
          ASSERT_EQ(decode_product(amx(), w, x, 0, rows, {{0, w.n}}),
                    decode_product(*find_table("scalar"), w, x, 0, rows, {{0, w.n}}))
              << bits << " bits in groups of " << group << " k " << k << " rows " << rows;
        }
      }
    }
  }
}

TEST_P(Amx, DecodeProductsOfLongRowsHaveTheBitsOfTheOthers) {
  // One tile of rows in a pass, and too long for a pass.
  for (const int k : {8960, 16384}) {
    const Weights w(17, k, 4, 64, Float::kBF16);
    const auto x = random_floats(size_t{18} * static_cast<size_t>(k));
    EXPECT_EQ(decode_product(amx(), w, x, 0, 18, {{0, w.n}}),
              decode_product(*find_table("scalar"), w, x, 0, 18, {{0, w.n}}))
        << k;
  }
}

TEST_P(Amx, ADecodeRowKeepsItsBitsInAnyCompany) {
  const Weights w(37, 704, 4, 64, Float::kBF16);
  const auto x = random_floats(64 * 704);
  const auto all = decode_product(amx(), w, x, 0, 64, {{0, w.n}});
  for (int m = 1; m <= 64; ++m) {
    const auto last = decode_product(amx(), w, x, 64 - m, m, {{0, w.n}});
    ASSERT_EQ(last, std::vector<float>(all.end() - int64_t{m} * (w.n + 3), all.end()))
        << "the last " << m;
  }
  for (const int cut : {1, 15, 16, 20, 36}) {
    EXPECT_EQ(decode_product(amx(), w, x, 0, 64, {{cut, w.n}, {0, cut}}), all) << cut;
  }
}

TEST_P(Amx, ANotFiniteActivationOfADecodeRowReachesItsRowOnly) {
  const Weights w(16, 128, 4, 64, Float::kBF16);
  auto x = random_floats(12 * 128);
  const auto clean = decode_product(amx(), w, x, 0, 12, {{0, 16}});
  x[5 * 128 + 70] = INFINITY;
  const auto y = decode_product(amx(), w, x, 0, 12, {{0, 16}});
  for (int m = 0; m < 12; ++m) {
    for (int n = 0; n < 16; ++n) {
      if (m == 5) {
        EXPECT_TRUE(std::isnan(y[m * 19 + n])) << n;
      } else {
        EXPECT_EQ(y[m * 19 + n], clean[m * 19 + n]) << m;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::kernels::isa
