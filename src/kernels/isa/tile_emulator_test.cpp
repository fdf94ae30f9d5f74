// The emulator against what Intel's manual says of each instruction.
#include "kernels/isa/tile_emulator.h"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/isa/isa.h"
#include "support/guarded_memory.h"

namespace fovea::kernels::isa {
namespace {

class TileEmulation : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!find_table("avx2")) GTEST_SKIP() << "this processor has no fused multiply-adds";
  }
};

uint16_t bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  EXPECT_EQ(bits & 0xffff, 0u) << x << " is no bfloat16";
  return static_cast<uint16_t>(bits >> 16);
}

// Shapes of a product of one row by one column over `pairs` pairs.
TileConfig line(int pairs) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 4;
    config.rows[i] = 1;
  }
  config.row_bytes[1] = static_cast<uint16_t>(4 * pairs);
  config.rows[2] = static_cast<uint8_t>(pairs);
  return config;
}

// sum + the products of the neighbours of a with those of b, as one tile product.
float product(float sum, const std::vector<float>& a, const std::vector<float>& b) {
  TileEmulator tiles;
  const TileConfig config = line(static_cast<int>(a.size() / 2));
  tiles.configure(&config);
  std::vector<uint16_t> x;
  std::vector<uint16_t> y;
  for (const float value : a) x.push_back(bf16(value));
  for (const float value : b) y.push_back(bf16(value));
  tiles.load(0, &sum, 4);
  tiles.load(1, x.data(), 64);
  tiles.load(2, y.data(), 4);
  tiles.multiply_bf16(0, 1, 2);
  tiles.store(0, &sum, 4);
  return sum;
}

const float kHuge = std::ldexp(1.0f, 27);

TEST_F(TileEmulation, SumsEvenAndOddProductsApart) {
  // In one chain, 1 would vanish beside 2^27.
  EXPECT_EQ(product(0, {kHuge, 1, -kHuge, 0}, {1, 1, 1, 1}), 1);
  EXPECT_EQ(product(0, {kHuge, 0, 1, 0, -kHuge, 0}, {1, 1, 1, 1, 1, 1}), 0);
}

TEST_F(TileEmulation, AddsTheProductsBeforeTheSum) {
  const float even = std::ldexp(1.0f, 24);  // whose neighbours are 2 apart
  EXPECT_EQ(product(even, {1, 1}, {1, 1}), even + 2);
  EXPECT_EQ(product(even, {1, 0}, {1, 1}), even);
}

TEST_F(TileEmulation, FusesProductsWithTheirSums) {
  const float a = std::ldexp(1.0f, -63);
  const float b = std::ldexp(1.0f, -70);
  // b * b alone is a denormal number, but it is not rounded alone.
  const float expected = std::ldexp(1.0f, -126) * (1 + std::ldexp(1.0f, -14));
  EXPECT_EQ(product(0, {a, 0, b, 0}, {a, 0, b, 0}), expected);
}

TEST_F(TileEmulation, TakesAndMakesDenormalNumbersAsZeros) {
  const float denormal = std::ldexp(1.0f, -130);
  const float small = std::ldexp(1.0f, -70);
  EXPECT_EQ(product(0, {denormal, 0}, {kHuge, 0}), 0) << "read";
  EXPECT_EQ(product(denormal, {0, 0}, {0, 0}), 0) << "read as a sum";
  const float made = product(0, {-small, 0}, {small, 0});
  EXPECT_EQ(made, 0) << "made";
}

TEST_F(TileEmulation, NeitherAsksNorTellsTheControlRegister) {
  const unsigned outer = _mm_getcsr();
  constexpr unsigned kUp = 0x4000;
  _mm_setcsr(0x1f80 | kUp);
  const float even = std::ldexp(1.0f, 24);
  const float rounded = product(even, {1, 0}, {1, 0});
  const float vanished = product(0, {std::ldexp(1.0f, -130), 0}, {kHuge, 0});
  const unsigned after = _mm_getcsr();
  _mm_setcsr(outer);
  EXPECT_EQ(rounded, even);
  EXPECT_EQ(vanished, 0);
  EXPECT_EQ(after, 0x1f80 | kUp) << "flags of exceptions among them";
}

TEST_F(TileEmulation, KnowsSignsOfBytes) {
  const uint8_t a[4] = {200, 1, 255, 3};
  const uint8_t b[4] = {2, 254, 100, 129};
  const auto sum = [&](bool a_signed, bool b_signed) {
    TileEmulator tiles;
    const TileConfig config = line(1);
    tiles.configure(&config);
    int32_t out = 1000;
    tiles.load(0, &out, 4);
    tiles.load(1, a, 4);
    tiles.load(2, b, 4);
    tiles.multiply_bytes(0, 1, 2, a_signed, b_signed);
    tiles.store(0, &out, 4);
    return out - 1000;
  };
  EXPECT_EQ(sum(false, false), 400 + 254 + 25500 + 387);
  EXPECT_EQ(sum(false, true), 400 - 2 + 25500 - 381);
  EXPECT_EQ(sum(true, false), -112 + 254 - 100 + 387);
  EXPECT_EQ(sum(true, true), -112 - 2 - 100 - 381);
}

TEST_F(TileEmulation, MultipliesWholeTiles) {
  TileEmulator tiles;
  const TileConfig config;
  tiles.configure(&config);
  // Row m of a: m at input 2 m. Column n of b: n + 1 at input 2 n, in row n.
  uint16_t a[16][32] = {};
  uint16_t b[16][32] = {};
  for (int i = 0; i < 16; ++i) {
    a[i][2 * i] = bf16(static_cast<float>(i));
    for (int n = 0; n < 16; ++n) b[i][2 * n] = bf16(static_cast<float>(16 * i + n));
  }
  tiles.load(4, a, 64);
  tiles.load(6, b, 64);
  tiles.zero(3);
  tiles.multiply_bf16(3, 4, 6);
  float out[16][16];
  tiles.store(3, out, 64);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) EXPECT_EQ(out[m][n], m * (16 * m + n));
  }
}

TEST_F(TileEmulation, TouchesTheConfiguredRowsOnly) {
  TileConfig config;
  config.rows[5] = 3;
  config.row_bytes[5] = 8;
  TileEmulator tiles;
  tiles.configure(&config);
  const std::vector<uint8_t> bytes(2 * 24 + 8, 7);
  const testing::GuardedMemory memory(bytes.data(), bytes.size());
  tiles.load(5, memory.data(), 24);
  std::vector<uint8_t> out(bytes.size(), 1);
  tiles.store(5, out.data(), 24);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i % 24 < 8 ? 7 : 1) << i;
}

TEST_F(TileEmulation, RefusesWhatTheProcessorRefuses) {
  const TileConfig whole;
  const auto configured = [&](auto change) {
    TileConfig config = whole;
    change(config);
    TileEmulator().configure(&config);
  };
  EXPECT_THROW(configured([](TileConfig& c) { c.palette = 0; }), TileFault);
  EXPECT_THROW(configured([](TileConfig& c) { c.rows[2] = 17; }), TileFault);
  EXPECT_THROW(configured([](TileConfig& c) { c.row_bytes[2] = 68; }), TileFault);
  EXPECT_THROW(configured([](TileConfig& c) { c.rows[2] = 0; }), TileFault);
  EXPECT_THROW(configured([](TileConfig& c) { c.reserved[3] = 1; }), TileFault);

  uint8_t bytes[1024] = {};
  TileEmulator tiles;
  EXPECT_THROW(tiles.zero(0), TileFault) << "before a configuration";
  tiles.configure(&whole);
  EXPECT_THROW(tiles.load(8, bytes, 64), TileFault);
  EXPECT_THROW(tiles.multiply_bf16(0, 0, 1), TileFault);
  EXPECT_THROW(tiles.multiply_bytes(0, 1, 1, false, true), TileFault);
  tiles.release();
  EXPECT_THROW(tiles.store(0, bytes, 64), TileFault) << "after the release";

  TileConfig odd = whole;
  odd.rows[1] = 8;
  tiles.configure(&odd);
  EXPECT_THROW(tiles.multiply_bf16(0, 1, 2), TileFault) << "rows of a and of the sums";
  EXPECT_THROW(tiles.multiply_bf16(0, 2, 1), TileFault) << "columns of a and rows of b";
}

TEST_F(TileEmulation, EveryThreadHasItsOwn) {
  const TileConfig config;
  TileEmulator::here().configure(&config);
  std::thread([] { EXPECT_FALSE(TileEmulator::here().is_configured()); }).join();
  EXPECT_TRUE(TileEmulator::here().is_configured());
  TileEmulator::here().release();
}

}  // namespace
}  // namespace fovea::kernels::isa
