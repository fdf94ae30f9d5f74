// The AMX variant on emulated tiles. Needs AVX-512 beside them, as the variant does. Only tests
// link it.
#pragma once

#include "kernels/isa/isa.h"

namespace fovea::kernels::isa {

const Table& emulated_amx_table();

}  // namespace fovea::kernels::isa
