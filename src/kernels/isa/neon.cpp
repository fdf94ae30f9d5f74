// ARM's NEON: a place for its loops, which are the scalar ones so far. Compiled for aarch64 alone;
// tools/kernels/check_aarch64 does so elsewhere.
#include "kernels/isa/isa.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {

const Table& neon_table() {
  static const Table table = [] {
    Table made = scalar_table();
    made.name = "neon";
    return made;
  }();
  return table;
}

}  // namespace fovea::kernels::isa
