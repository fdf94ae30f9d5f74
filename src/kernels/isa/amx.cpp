// AVX-512 and tiles (AMX) with products of bfloat16 and of bytes, run only where the processor, its
// system and this process have them (tiles.h).
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/isa/isa.h"
#include "kernels/isa/tiles.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

#include "kernels/isa/amx_body.h"

#include "kernels/isa/amx_tiles.h"

}  // namespace

const Table& amx_table() {
  static const Table table = tile_table<HardwareTiles>("amx");
  return table;
}

}  // namespace fovea::kernels::isa
