// AVX-512 with VNNI and BF16, run only where CPUID shows all of what its flags in CMakeLists.txt name.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/isa/isa.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

#include "kernels/isa/vec256.h"

#include "kernels/isa/body.h"

constexpr Table kTable = make_table("avx512");

}  // namespace

const Table& avx512_table() { return kTable; }

}  // namespace fovea::kernels::isa
