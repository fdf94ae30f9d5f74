// AVX2 with FMA, F16C and BMI2; compiled with -mavx2 -mfma -mf16c -mbmi2, run only where CPUID
// shows all four.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/isa/isa.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

#include "kernels/isa/vec256.h"

#include "kernels/isa/vec_pair.h"

#include "kernels/isa/decode_avx2.h"

#include "kernels/isa/body.h"

constexpr Table kTable = make_table("avx2");

}  // namespace

const Table& avx2_table() { return kTable; }

}  // namespace fovea::kernels::isa
