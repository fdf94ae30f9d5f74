// What CPUID tells of the sizes of tiles (AMX). The architecture fixes them, so kernels do not ask;
// but programs that do die where a virtual machine shows the tiles and hides their sizes, and a
// person who meets that wants to know why. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace fovea::kernels::isa {

// EAX, EBX, ECX, EDX of a CPUID leaf; zeros where the processor has no such leaf.
using CpuidLeaf = std::array<uint32_t, 4>;
using AskCpuid = CpuidLeaf (*)(uint32_t leaf, uint32_t subleaf);
CpuidLeaf cpuid_here(uint32_t leaf, uint32_t subleaf);

// Whether leaf 7 shows tiles while leaf 0x1D or 0x1E, which size them, holds nothing.
bool hides_tile_sizes(AskCpuid ask);

}  // namespace fovea::kernels::isa
