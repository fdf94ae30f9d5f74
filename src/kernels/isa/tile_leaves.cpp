#include "kernels/isa/tile_leaves.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fovea::kernels::isa {

CpuidLeaf cpuid_here([[maybe_unused]] uint32_t leaf, [[maybe_unused]] uint32_t subleaf) {
  CpuidLeaf found{};
#if defined(__x86_64__)
  __get_cpuid_count(leaf, subleaf, &found[0], &found[1], &found[2], &found[3]);
#endif
  return found;
}

bool hides_tile_sizes(AskCpuid ask) {
  constexpr size_t kEdx = 3;
  const bool tiles = ask(7, 0)[kEdx] >> 24 & 1;
  return tiles && (ask(0x1D, 1) == CpuidLeaf{} || ask(0x1E, 0) == CpuidLeaf{});
}

}  // namespace fovea::kernels::isa
