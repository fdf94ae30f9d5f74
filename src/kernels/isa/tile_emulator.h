// Tiles in plain C++, as Intel's manual (volume 2, instructions TDPBF16PS to TILEZERO) describes
// them, so that tests run the text of the AMX kernels on processors without AMX. Only tests link
// it.
//
// What the processor answers with an exception is a TileFault here: tiles without a configuration,
// shapes that do not fit, a configuration that is not palette 1. Rows are read and written one by
// one, so that sanitizers and guard pages see what lies outside of a buffer.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "kernels/isa/tiles.h"

namespace fovea::kernels::isa {

class TileFault : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

class TileEmulator {
 public:
  // That of the calling thread.
  static TileEmulator& here();

  void configure(const void* config);  // 64 bytes; all tiles become zero
  void release();
  bool is_configured() const { return configured_; }

  void zero(int tile);
  void load(int tile, const void* base, int64_t stride);
  void store(int tile, void* base, int64_t stride) const;

  // sums += a * b: pairs of bfloat16, or fours of bytes whose signs the flags tell. Fused
  // multiply-adds of bfloat16 need a processor that has them (AVX2 and FMA).
  void multiply_bf16(int sums, int a, int b);
  void multiply_bytes(int sums, int a, int b, bool a_signed, bool b_signed);

 private:
  struct Tile {
    int rows = 0;
    int row_bytes = 0;
    alignas(64) uint8_t data[kTileRows][kTileRowBytes] = {};
  };

  Tile& used(int tile);
  const Tile& used(int tile) const;
  void check_product(int sums, int a, int b) const;

  bool configured_ = false;
  Tile tiles_[8];
};

}  // namespace fovea::kernels::isa
