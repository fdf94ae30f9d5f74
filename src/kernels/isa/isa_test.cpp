// Variants must agree bit for bit, so that an answer does not depend on the processor.
#include "kernels/isa/isa.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <tuple>
#include <vector>

#include "base/format.h"
#include "support/expect_error.h"

namespace fovea::kernels::isa {
namespace {

// Others each time, but for a seed.
std::vector<float> random_floats(size_t count, float deviation = 1, unsigned seed = 0) {
  static std::mt19937 all(7);
  std::mt19937 own(seed);
  auto& engine = seed ? own : all;
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

// Bytes at a multiple of 64.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t count) : memory_(count + 64) {}
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    return memory_.data() + (64 - address % 64) % 64;
  }

 private:
  std::vector<std::byte> memory_;
};

// Two-byte values that are finite in bfloat16 and float16 alike.
std::vector<uint16_t> random_halves(size_t count) {
  static std::mt19937 engine(11);
  std::vector<uint16_t> values(count);
  for (auto& value : values) value = static_cast<uint16_t>(0x3000 + engine() % 0x0c00);
  return values;
}

// Every variant but the scalar one, which all are compared with.
std::vector<const Table*> others() {
  std::vector<const Table*> found;
  for (const auto* name : {"avx2", "avx512", "amx", "neon"}) {
    if (const Table* table = find_table(name)) found.push_back(table);
  }
  return found;
}

const Table& scalar() { return *find_table("scalar"); }

#define SKIP_WITHOUT_OTHERS() \
  if (others().empty()) GTEST_SKIP() << "this processor runs the scalar variant only"

// `bias` [n], or null.
std::vector<float> product_of(const Table& table, const WeightRows& w, int rows, int n,
                              const float* bias = nullptr) {
  std::vector<float> inputs(static_cast<size_t>(rows) * w.k);
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = std::sin(static_cast<float>(i));
  std::vector<float> y(static_cast<size_t>(rows) * n);
  std::vector<float> scratch(static_cast<size_t>(panel_columns(w.k)) * w.k);
  table.product(inputs.data(), rows, w, 0, n, bias, y.data(), n, scratch.data());
  return y;
}

TEST(Isa, ProductsHaveTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  constexpr int n = 9;
  const auto floats = random_floats(n * 77);
  const auto halves = random_halves(n * 77);
  const auto bias = random_floats(n);
  for (const auto dtype : {Float::kF32, Float::kBF16, Float::kF16}) {
    WeightRows w;
    w.k = 77;
    w.dtype = dtype;
    w.data = dtype == Float::kF32 ? static_cast<const void*>(floats.data()) : halves.data();
    for (const int rows : {1, 2, 5}) {
      for (const auto* other : others()) {
        EXPECT_EQ(product_of(scalar(), w, rows, n), product_of(*other, w, rows, n));
        EXPECT_EQ(product_of(scalar(), w, rows, n, bias.data()),
                  product_of(*other, w, rows, n, bias.data()));
      }
    }
  }
}

// `cut`: where a second call takes over. `bias` [n], or null.
std::vector<float> prompt_product_of(const Table& table, const WeightRows& w, int rows, int n,
                                     int cut = 0, const float* bias = nullptr) {
  const auto& how = table.prompt_f32;
  const auto inputs = random_floats(static_cast<size_t>(rows) * w.k, 1, 5);
  const size_t block_bytes = how.block_bytes(w);
  const int blocks = (rows + how.block_rows - 1) / how.block_rows;
  AlignedBytes x(block_bytes * static_cast<size_t>(blocks));
  for (int b = 0; b < blocks; ++b) {
    const int row = b * how.block_rows;
    how.prepare(inputs.data() + static_cast<size_t>(row) * w.k,
                std::min(how.block_rows, rows - row), w,
                x.data() + static_cast<size_t>(b) * block_bytes);
  }
  std::vector<float> y(static_cast<size_t>(rows) * n);
  AlignedBytes scratch(kPromptScratchBytes);
  PromptProduct p;
  p.x = x.data();
  p.rows = rows;
  p.n = n;
  p.w = w;
  p.y = y.data();
  p.y_stride = n;
  p.bias = bias;
  how.product(p, 0, cut, scratch.data());
  how.product(p, cut, n, scratch.data());
  return y;
}

TEST(Isa, PromptProductsInFloat32HaveTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  constexpr int n = 67;
  const auto floats = random_floats(n * 301);
  const auto halves = random_halves(n * 301);
  const auto bias = random_floats(n);
  for (const int k : {1, 16, 77, 301}) {
    for (const auto dtype : {Float::kF32, Float::kBF16, Float::kF16}) {
      WeightRows w;
      w.k = k;
      w.dtype = dtype;
      w.data = dtype == Float::kF32 ? static_cast<const void*>(floats.data()) : halves.data();
      for (const int rows : {1, 13}) {
        for (const auto* other : others()) {
          EXPECT_EQ(prompt_product_of(scalar(), w, rows, n), prompt_product_of(*other, w, rows, n));
          EXPECT_EQ(prompt_product_of(scalar(), w, rows, n, 0, bias.data()),
                    prompt_product_of(*other, w, rows, n, 0, bias.data()));
        }
      }
    }
  }
}

TEST(Isa, QuantizedPromptProductsInFloat32HaveTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  constexpr int n = 19;
  const auto packed = random_halves(n * 384);
  const auto scales = random_halves(n * 384 / 32);
  const auto biases = random_halves(n * 384 / 32);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const auto dtype : {Float::kBF16, Float::kF16}) {
      WeightRows w;
      w.k = 384;
      w.dtype = dtype;
      w.data = packed.data();
      w.bits = bits;
      w.group_size = 32;
      w.scales = scales.data();
      w.biases = biases.data();
      for (const auto* other : others()) {
        EXPECT_EQ(prompt_product_of(scalar(), w, 9, n), prompt_product_of(*other, w, 9, n)) << bits;
      }
    }
  }
}

TEST(Isa, PromptProductsWithSmallFloatsHaveTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  constexpr int n = 19;
  constexpr int k = 96;
  std::vector<uint8_t> packed(n * k);
  for (size_t i = 0; i < packed.size(); ++i) {
    packed[i] = static_cast<uint8_t>(i * 37 % 127 + i % 2 * 128);  // no number that is none
  }
  std::vector<uint8_t> scales(n * k / 16);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<uint8_t>(40 + i % 80);
  for (const auto& [bits, group, dtype] :
       {std::tuple{4, 32, Float::kE8M0}, std::tuple{4, 16, Float::kE4M3},
        std::tuple{8, 32, Float::kE8M0}}) {
    WeightRows w;
    w.k = k;
    w.bits = bits;
    w.group_size = group;
    w.floats = true;
    w.dtype = dtype;
    w.data = packed.data();
    w.scales = scales.data();
    for (const auto* other : others()) {
      EXPECT_EQ(prompt_product_of(scalar(), w, 9, n), prompt_product_of(*other, w, 9, n)) << bits;
    }
  }
}

TEST(Isa, PromptProductsDoNotDependOnTheCutOfTheColumns) {
  const auto values = random_floats(70 * 40);
  WeightRows w;
  w.k = 40;
  w.data = values.data();
  const auto whole = prompt_product_of(table(), w, 10, 70);
  for (const int cut : {1, 16, 33, 69}) {
    EXPECT_EQ(prompt_product_of(table(), w, 10, 70, cut), whole) << cut;
  }
}

// `bias` [n], or null.
std::vector<float> decode_product_of(const Table& table, const WeightRows& w, int rows, int n,
                                     const float* bias = nullptr) {
  std::vector<float> inputs(static_cast<size_t>(rows) * w.k);
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = std::sin(static_cast<float>(i * i));
  const size_t row_bytes = table.decode_row_bytes(w);
  AlignedBytes memory(row_bytes * static_cast<size_t>(rows));
  std::byte* x = memory.data();
  for (int m = 0; m < rows; ++m) {
    table.prepare_decode_row(inputs.data() + m * w.k, w, x + static_cast<size_t>(m) * row_bytes);
  }
  std::vector<float> y(static_cast<size_t>(rows) * n);
  table.decode_product(x, rows, w, 0, n, bias, y.data(), n);
  return y;
}

TEST(Isa, DecodeProductsHaveTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  constexpr int n = 41;
  const auto bias = random_floats(n);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      for (const int k : {group, 3 * group, 19 * group}) {
        WeightRows w;
        w.k = k;
        w.bits = bits;
        w.group_size = group;
        const auto packed = random_halves(static_cast<size_t>(n) * k * bits / 16);
        const auto scales = random_halves(static_cast<size_t>(n) * k / group);
        const auto biases = random_halves(static_cast<size_t>(n) * k / group);
        w.data = packed.data();
        w.scales = scales.data();
        w.biases = biases.data();
        for (const auto dtype : {Float::kBF16, Float::kF16}) {
          w.dtype = dtype;
          for (const int rows : {1, 2, 3, 4, 7, 9, 16, 21}) {
            for (const auto* other : others()) {
              EXPECT_EQ(decode_product_of(scalar(), w, rows, n),
                        decode_product_of(*other, w, rows, n))
                  << other->name << " bits " << bits << " group " << group << " k " << k;
              EXPECT_EQ(decode_product_of(scalar(), w, rows, n, bias.data()),
                        decode_product_of(*other, w, rows, n, bias.data()))
                  << other->name << " bits " << bits << " group " << group << " k " << k;
            }
          }
        }
      }
    }
  }
}

// The same bytes at an odd address: a safetensors file may put a tensor anywhere.
template <class T>
std::vector<char> misaligned(const std::vector<T>& values) {
  std::vector<char> bytes(values.size() * sizeof(T) + 1);
  std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
  return bytes;
}

TEST(Isa, WeightsNeedNoAlignment) {
  constexpr int n = 37;
  constexpr int k = 96;
  const auto floats = random_floats(n * k);
  const auto halves = random_halves(n * k);
  const auto scales = random_halves(n * k / 32);
  const auto biases = random_halves(n * k / 32);
  const auto odd_floats = misaligned(floats);
  const auto odd_halves = misaligned(halves);
  const auto odd_scales = misaligned(scales);
  const auto odd_biases = misaligned(biases);
  for (const auto* name : {"scalar", "avx2", "avx512", "amx", "neon"}) {
    const Table* table = find_table(name);
    if (!table) continue;
    for (const auto dtype : {Float::kF32, Float::kBF16, Float::kF16}) {
      WeightRows w;
      w.k = k;
      w.dtype = dtype;
      WeightRows odd = w;
      const bool whole = dtype == Float::kF32;
      w.data = whole ? static_cast<const void*>(floats.data()) : halves.data();
      odd.data = (whole ? odd_floats : odd_halves).data() + 1;
      for (const int rows : {1, 4, 17}) {
        EXPECT_EQ(product_of(*table, w, rows, n), product_of(*table, odd, rows, n)) << name;
        EXPECT_EQ(prompt_product_of(*table, w, rows, n), prompt_product_of(*table, odd, rows, n))
            << name;
      }
      if (whole) continue;
      for (auto* rows : {&w, &odd}) {
        rows->bits = 4;
        rows->group_size = 32;
      }
      w.scales = scales.data();
      w.biases = biases.data();
      odd.scales = odd_scales.data() + 1;
      odd.biases = odd_biases.data() + 1;
      for (const int rows : {1, 4, 17}) {
        EXPECT_EQ(decode_product_of(*table, w, rows, n), decode_product_of(*table, odd, rows, n))
            << name;
        EXPECT_EQ(prompt_product_of(*table, w, rows, n), prompt_product_of(*table, odd, rows, n))
            << name;
      }
    }
  }
}

TEST(Isa, ProductsDoNotDependOnTheCutOfTheColumns) {
  const auto values = random_floats(23 * 40);
  const auto x = random_floats(4 * 40);
  WeightRows w;
  w.k = 40;
  w.data = values.data();
  std::vector<float> scratch(static_cast<size_t>(panel_columns(w.k)) * w.k);
  std::vector<float> whole(4 * 23);
  table().product(x.data(), 4, w, 0, 23, nullptr, whole.data(), 23, scratch.data());
  for (int cut = 1; cut < 23; ++cut) {
    std::vector<float> y(4 * 23);
    table().product(x.data(), 4, w, 0, cut, nullptr, y.data(), 23, scratch.data());
    table().product(x.data(), 4, w, cut, 23, nullptr, y.data(), 23, scratch.data());
    EXPECT_EQ(y, whole) << cut;
  }
}

TEST(Isa, ElementwiseLoopsHaveTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  constexpr int n = 1003;
  const auto x = random_floats(n, 20);
  const auto y = random_floats(n);
  std::vector<float> a(n), b(n);
  for (const auto* other : others()) {
    const auto expect_same = [&](auto call, const char* what) {
      call(scalar(), a.data());
      call(*other, b.data());
      EXPECT_EQ(a, b) << what;
    };
    const float* p = x.data();
    const float* q = y.data();
    expect_same([&](const Table& t, float* out) { t.swiglu(p, q, n, out); }, "swiglu");
    expect_same([&](const Table& t, float* out) { t.silu(p, n, out); }, "silu");
    expect_same([&](const Table& t, float* out) { t.gelu_exact(p, n, out); }, "gelu_exact");
    expect_same([&](const Table& t, float* out) { t.gelu_tanh(p, n, out); }, "gelu_tanh");
    expect_same([&](const Table& t, float* out) { t.gelu_quick(p, n, out); }, "gelu_quick");
    expect_same([&](const Table& t, float* out) { t.rms_norm(p, q, 1, 1e-6f, n, out); }, "rms");
    expect_same([&](const Table& t, float* out) { t.layer_norm(p, q, q, 1e-6f, n, out); }, "layer");
    expect_same([&](const Table& t, float* out) { t.rotate(p, q, q + 9, 17, 59, 29, out); },
                "rope");
  }
}

// 7 rows of 3 heads over keys in two places: windows, a span that looks ahead, a row that sees
// nothing, a cap, a mask and sinks.
struct AttentionCase {
  static constexpr int kKeys = 2 * kSplit + 50;
  static constexpr int kRows = 7;
  static constexpr int kGroup = 3;
  int dim;
  std::vector<float> q, mask, sinks;
  std::vector<KeyRange> seen;

  explicit AttentionCase(int d)
      : dim(d),
        q(random_floats(static_cast<size_t>(kRows) * kGroup * d)),
        mask(random_floats(static_cast<size_t>(kRows) * kKeys)),
        sinks(random_floats(kGroup)),
        seen(kRows) {
    for (int i = 0; i < kRows; ++i) seen[i] = {kSplit - 70 + 9 * i, kKeys - 20 + i};
    seen[2].end = kKeys;
    seen[3] = {kSplit + 1, kSplit + 1};
    for (size_t i = 0; i < mask.size(); i += 5) mask[i] = -INFINITY;
  }

  // Of a row in 8 bits, in groups of 32.
  int bytes() const { return (dim + 31) / 32 * (32 + 8); }

  std::vector<std::byte> in_bytes(const Table& table, const std::vector<float>& values) const {
    std::vector<std::byte> rows(static_cast<size_t>(kKeys) * bytes());
    for (int j = 0; j < kKeys; ++j) {
      table.quantize_kv(values.data() + j * dim, dim, 32, rows.data() + j * bytes());
    }
    return rows;
  }

  std::vector<float> run(const Table& table, KvType type, const void* k, const void* v) const {
    const int64_t stride = type == KvType::kBytes ? bytes() : dim * (type == KvType::kF32 ? 4 : 2);
    const auto places = [&](const void* rows) {
      const auto* first = static_cast<const std::byte*>(rows);
      return std::vector<const void*>{first, first + 2 * kPlaceKeys * stride,
                                      first + 4 * kPlaceKeys * stride};
    };
    const auto k_places = places(k);
    const auto v_places = places(v);
    std::vector<float> out(q.size());
    AttentionRows rows;
    rows.q = q.data();
    rows.q_stride = kGroup * dim;
    rows.q_head_stride = dim;
    rows.out = out.data();
    rows.out_stride = kGroup * dim;
    rows.rows = kRows;
    rows.group = kGroup;
    rows.head_dim = dim;
    rows.k = k_places.data();
    rows.v = v_places.data();
    rows.place_keys = 2 * kPlaceKeys;
    rows.k_stride = rows.v_stride = stride;
    rows.kv_type = type;
    rows.kv_group = 32;
    rows.seen = seen.data();
    rows.scale = 0.2f;
    rows.softcap = 3;
    rows.mask = mask.data();
    rows.mask_stride = kKeys;
    rows.sinks = sinks.data();
    std::vector<float> scratch(attend_floats(dim));
    table.attend(rows, scratch.data());
    return out;
  }
};

TEST(Isa, AttentionHasTheSameBits) {
  SKIP_WITHOUT_OTHERS();
  for (const int d : {20, 64, 72, 96, 160}) {
    const AttentionCase c(d);
    const size_t elements = static_cast<size_t>(AttentionCase::kKeys) * d;
    const auto k = random_floats(elements);
    const auto v = random_floats(elements);
    const auto k_halves = random_halves(elements);
    const auto v_halves = random_halves(elements);
    for (const auto* other : others()) {
      EXPECT_EQ(c.run(scalar(), KvType::kF32, k.data(), v.data()),
                c.run(*other, KvType::kF32, k.data(), v.data()))
          << other->name << " float32, head size " << d;
      EXPECT_EQ(c.run(scalar(), KvType::kBF16, k_halves.data(), v_halves.data()),
                c.run(*other, KvType::kBF16, k_halves.data(), v_halves.data()))
          << other->name << " bfloat16, head size " << d;
      const auto k_bytes = c.in_bytes(scalar(), k);
      const auto v_bytes = c.in_bytes(*other, v);
      EXPECT_EQ(k_bytes, c.in_bytes(*other, k)) << other->name;
      EXPECT_EQ(c.run(scalar(), KvType::kBytes, k_bytes.data(), v_bytes.data()),
                c.run(*other, KvType::kBytes, k_bytes.data(), v_bytes.data()))
          << other->name << " 8 bits, head size " << d;
    }
  }
}

TEST(Isa, RoundsToBfloat16WithTheSameBits) {
  const std::vector<float> x = {1,         1.00390625f, 1.01171875f, -1.00390625f, 3.4e38f,
                                -INFINITY, -NAN,        1e-40f,      -0.0f,        0.1f};
  const std::vector<uint16_t> expected = {0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f80,
                                          0xff80, 0xffc0, 0x0001, 0x8000, 0x3dcd};
  for (const auto* name : {"scalar", "avx2", "avx512", "amx", "neon"}) {
    const Table* table = find_table(name);
    if (!table) continue;
    std::vector<uint16_t> y(x.size());
    table->round_to_bf16(x.data(), x.size(), y.data());
    EXPECT_EQ(y, expected) << name;
  }
}

TEST(Isa, ChoosesByNameAndRefusesUnknownOnes) {
  EXPECT_EQ(choose("scalar").name, "scalar");
  EXPECT_EQ(find_table(choose("").name), &choose(""));
  EXPECT_EQ(find_table("sse9"), nullptr);
  EXPECT_ERROR(choose("sse9"), ErrorKind::kInvalidArgument,
               "[FOVEA_ISA] expected an instruction set that this processor runs (scalar");
  EXPECT_ERROR(choose("AVX2"), ErrorKind::kInvalidArgument, "but got 'AVX2'");
  for (const auto& variant : variants()) {
    if (variant.missing.empty()) continue;
    EXPECT_ERROR(choose(variant.name), ErrorKind::kInvalidArgument,
                 fmt::format("but got '{}', which lacks {}", variant.name, variant.missing[0]));
  }
}

}  // namespace
}  // namespace fovea::kernels::isa
