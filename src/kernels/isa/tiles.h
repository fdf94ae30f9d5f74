// What must be so before a thread may use tiles (AMX): the processor has them, the system saves
// them, and this process was permitted to use them. Tiles belong to a thread, and so does their
// configuration: kernels load it when they begin and release the tiles when they end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fovea::kernels::isa {

// Palette 1: 8 tiles of 16 rows of 64 bytes, all of them in use. The architecture fixes it, so
// nobody here asks CPUID for it.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

inline constexpr int kTileRows = 16;
inline constexpr int kTileRowBytes = 64;
inline constexpr int kTileBytes = kTileRows * kTileRowBytes;

// EAX, EBX, ECX, EDX of a CPUID leaf; zeros where the processor has no such leaf.
using CpuidLeaf = std::array<uint32_t, 4>;

// Who is asked; tests bring their own.
struct TileSources {
  CpuidLeaf (*cpuid)(uint32_t leaf, uint32_t subleaf);
  uint64_t (*saved_state)();  // XCR0, 0 where the system does not tell
  bool (*permission)();       // arch_prctl(ARCH_REQ_XCOMP_PERM): may be asked by any thread, at any
                              // time, and counts for all threads of the process
};
const TileSources& this_machine();

struct TileSupport {
  std::vector<std::string> present;
  std::vector<std::string> missing;  // one thing is asked for only when all before it are there
};
TileSupport tile_support(const TileSources& sources);

// Whether leaf 7 shows tiles while leaf 0x1D or 0x1E, which size them, holds nothing, as in some
// virtual machines: programs that ask for the sizes die there, and a person who meets that wants to
// know why.
bool hides_tile_sizes(const TileSources& sources);

// Whether every instruction of tiles raises a signal: not all of them wait for the permission.
bool refuses_tile_instructions(const TileSources& sources);

}  // namespace fovea::kernels::isa
