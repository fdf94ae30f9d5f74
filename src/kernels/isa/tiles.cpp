#include "kernels/isa/tiles.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fovea::kernels::isa {
namespace {

constexpr size_t kEcx = 2;
constexpr size_t kEdx = 3;

CpuidLeaf cpuid_here([[maybe_unused]] uint32_t leaf, [[maybe_unused]] uint32_t subleaf) {
  CpuidLeaf found{};
#if defined(__x86_64__)
  __get_cpuid_count(leaf, subleaf, &found[0], &found[1], &found[2], &found[3]);
#endif
  return found;
}

uint64_t saved_state_here() {
#if defined(__x86_64__)
  constexpr uint32_t kOsXsave = 1u << 27;
  if ((cpuid_here(1, 0)[kEcx] & kOsXsave) != 0) {
    uint32_t low = 0;
    uint32_t high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
  }
#endif
  return 0;
}

bool permission_here() {
#if defined(__x86_64__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_tiles(const CpuidLeaf& features) { return (features[kEdx] >> 24 & 1) != 0; }

bool saves_tiles(const TileSources& sources) {
  constexpr uint64_t kTileState = 3u << 17;  // configuration and data
  return (sources.saved_state() & kTileState) == kTileState;
}

}  // namespace

const TileSources& this_machine() {
  static constexpr TileSources kHere = {cpuid_here, saved_state_here, permission_here};
  return kHere;
}

TileSupport tile_support(const TileSources& sources) {
  TileSupport support;
  const auto found = [&](const char* name, bool here) {
    (here ? support.present : support.missing).emplace_back(name);
  };
  const CpuidLeaf features = sources.cpuid(7, 0);
  found("amx-tile", has_tiles(features));
  found("amx-bf16", (features[kEdx] >> 22 & 1) != 0);
  found("amx-int8", (features[kEdx] >> 25 & 1) != 0);
  if (!support.missing.empty()) return support;
  found("tiles saved by the system (XCR0)", saves_tiles(sources));
  if (!support.missing.empty()) return support;
  found("the system's permission for tiles (arch_prctl)", sources.permission());
  return support;
}

bool hides_tile_sizes(const TileSources& sources) {
  return has_tiles(sources.cpuid(7, 0)) &&
         (sources.cpuid(0x1D, 1) == CpuidLeaf{} || sources.cpuid(0x1E, 0) == CpuidLeaf{});
}

bool refuses_tile_instructions(const TileSources& sources) {
  return !has_tiles(sources.cpuid(7, 0)) || !saves_tiles(sources);
}

}  // namespace fovea::kernels::isa
