#include "kernels/isa/amx_emulated.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/isa/tile_emulator.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

#include "kernels/isa/amx_body.h"

struct EmulatedTiles {
  class Session {
   public:
    Session() {
      const TileConfig config;
      TileEmulator::here().configure(&config);
    }
    ~Session() { TileEmulator::here().release(); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  template <int kTile>
  static void zero() {
    TileEmulator::here().zero(kTile);
  }
  template <int kTile>
  static void load(const void* base, int64_t stride) {
    TileEmulator::here().load(kTile, base, stride);
  }
  template <int kTile>
  static void store(void* base, int64_t stride) {
    TileEmulator::here().store(kTile, base, stride);
  }
  template <int kSums, int kA, int kB>
  static void multiply_bf16() {
    TileEmulator::here().multiply_bf16(kSums, kA, kB);
  }
  template <int kSums, int kA, int kB>
  static void multiply_bytes() {
    TileEmulator::here().multiply_bytes(kSums, kA, kB, false, true);
  }
};

}  // namespace

const Table& emulated_amx_table() {
  static const Table table = tile_table<EmulatedTiles>("amx");
  return table;
}

}  // namespace fovea::kernels::isa
