#include "kernels/isa/tile_emulator.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

namespace fovea::kernels::isa {
namespace {

// Products of bfloat16 neither consult nor change MXCSR: nearest even, denormals are zeros when
// they are read and when they are written, no exceptions.
class TileRounding {
 public:
  TileRounding() : outer_(_mm_getcsr()) { _mm_setcsr(kMasked | kDenormalsAreZeros | kFlushToZero); }
  ~TileRounding() { _mm_setcsr(outer_); }
  TileRounding(const TileRounding&) = delete;
  TileRounding& operator=(const TileRounding&) = delete;

 private:
  static constexpr unsigned kMasked = 0x1f80;
  static constexpr unsigned kDenormalsAreZeros = 0x0040;
  static constexpr unsigned kFlushToZero = 0x8000;
  unsigned outer_;
};

// The `index`th of a pair of bfloat16 as float.
float half_of(const uint8_t* pair, int index) {
  uint32_t bits = 0;
  std::memcpy(reinterpret_cast<uint8_t*>(&bits) + 2, pair + 2 * index, 2);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// One row of sums += one row of a, `pairs` long, times b. Not inlined: arithmetic must not wander
// out of the scope of its rounding.
__attribute__((noinline, target("avx2,fma"))) void multiply_row_bf16(
    const uint8_t* a, int pairs, const uint8_t (*b)[kTileRowBytes], uint8_t* sums) {
  constexpr int kColumns = kTileRowBytes / 4;
  float first[kColumns] = {};
  float second[kColumns] = {};
  for (int k = 0; k < pairs; ++k) {
    const float x = half_of(a + 4 * k, 0);
    const float y = half_of(a + 4 * k, 1);
    for (int n = 0; n < kColumns; ++n) {
      first[n] = std::fma(x, half_of(b[k] + 4 * n, 0), first[n]);
      second[n] = std::fma(y, half_of(b[k] + 4 * n, 1), second[n]);
    }
  }
  float total[kColumns];
  std::memcpy(total, sums, sizeof(total));
  for (int n = 0; n < kColumns; ++n) total[n] = total[n] + (first[n] + second[n]);
  std::memcpy(sums, total, sizeof(total));
}

int32_t byte_of(uint8_t byte, bool is_signed) {
  return is_signed ? static_cast<int8_t>(byte) : static_cast<int32_t>(byte);
}

}  // namespace

TileEmulator& TileEmulator::here() {
  thread_local TileEmulator emulator;
  return emulator;
}

void TileEmulator::configure(const void* config) {
  TileConfig wanted;
  std::memcpy(&wanted, config, sizeof(wanted));
  const auto zeros = [](const auto* p, int count) {
    return std::all_of(p, p + count, [](auto x) { return x == 0; });
  };
  if (wanted.palette != 1 || wanted.start_row != 0 || !zeros(wanted.reserved, 14) ||
      !zeros(wanted.row_bytes + 8, 8) || !zeros(wanted.rows + 8, 8)) {
    throw TileFault("a configuration that is not of palette 1");
  }
  for (int i = 0; i < 8; ++i) {
    if (wanted.row_bytes[i] > kTileRowBytes || wanted.rows[i] > kTileRows ||
        (wanted.row_bytes[i] == 0) != (wanted.rows[i] == 0)) {
      throw TileFault("a configuration beyond palette 1");
    }
  }
  release();
  for (int i = 0; i < 8; ++i) {
    tiles_[i].rows = wanted.rows[i];
    tiles_[i].row_bytes = wanted.row_bytes[i];
  }
  configured_ = true;
}

void TileEmulator::release() {
  std::fill(tiles_, tiles_ + 8, Tile());
  configured_ = false;
}

const TileEmulator::Tile& TileEmulator::used(int tile) const {
  if (!configured_) throw TileFault("tiles used before they were configured");
  if (tile < 0 || tile > 7) throw TileFault("no tile " + std::to_string(tile));
  const Tile& t = tiles_[tile];
  if (t.rows == 0) throw TileFault("a tile without rows: " + std::to_string(tile));
  if (t.row_bytes % 4 != 0) throw TileFault("rows that are not whole numbers of 32 bits");
  return t;
}

TileEmulator::Tile& TileEmulator::used(int tile) {
  return const_cast<Tile&>(std::as_const(*this).used(tile));
}

void TileEmulator::zero(int tile) {
  Tile& t = used(tile);
  std::memset(t.data, 0, sizeof(t.data));
}

void TileEmulator::load(int tile, const void* base, int64_t stride) {
  Tile& t = used(tile);
  std::memset(t.data, 0, sizeof(t.data));
  for (int row = 0; row < t.rows; ++row) {
    std::memcpy(t.data[row], static_cast<const uint8_t*>(base) + row * stride, t.row_bytes);
  }
}

void TileEmulator::store(int tile, void* base, int64_t stride) const {
  const Tile& t = used(tile);
  for (int row = 0; row < t.rows; ++row) {
    std::memcpy(static_cast<uint8_t*>(base) + row * stride, t.data[row], t.row_bytes);
  }
}

void TileEmulator::check_product(int sums, int a, int b) const {
  if (sums == a || sums == b || a == b) throw TileFault("a product needs three tiles");
  const Tile& c = used(sums);
  const Tile& left = used(a);
  const Tile& right = used(b);
  if (c.rows != left.rows || c.row_bytes != right.row_bytes || left.row_bytes != right.rows * 4) {
    throw TileFault("tiles of shapes that do not fit");
  }
}

void TileEmulator::multiply_bf16(int sums, int a, int b) {
  check_product(sums, a, b);
  const TileRounding rounding;
  Tile& c = tiles_[sums];
  // Columns behind row_bytes of b and of the sums are zeros, and so are their products.
  for (int m = 0; m < c.rows; ++m) {
    multiply_row_bf16(tiles_[a].data[m], tiles_[b].rows, tiles_[b].data, c.data[m]);
  }
}

void TileEmulator::multiply_bytes(int sums, int a, int b, bool a_signed, bool b_signed) {
  check_product(sums, a, b);
  Tile& c = tiles_[sums];
  for (int m = 0; m < c.rows; ++m) {
    for (int n = 0; n < c.row_bytes / 4; ++n) {
      uint32_t sum;  // it wraps
      std::memcpy(&sum, c.data[m] + 4 * n, 4);
      for (int k = 0; k < tiles_[b].rows; ++k) {
        for (int i = 0; i < 4; ++i) {
          const int32_t x = byte_of(tiles_[a].data[m][4 * k + i], a_signed);
          const int32_t y = byte_of(tiles_[b].data[k][4 * n + i], b_signed);
          sum += static_cast<uint32_t>(x * y);
        }
      }
      std::memcpy(c.data[m] + 4 * n, &sum, 4);
    }
  }
}

}  // namespace fovea::kernels::isa
