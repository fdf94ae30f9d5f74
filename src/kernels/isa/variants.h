// The variants that this build has; isa.cpp chooses. A new one is a file of its own and a row
// there.
#pragma once

#include "kernels/isa/isa.h"

namespace fovea::kernels::isa {

const Table& scalar_table();
const Table& avx2_table();
const Table& avx512_table();
const Table& amx_table();
const Table& neon_table();

}  // namespace fovea::kernels::isa
