// AVX-512 with VNNI and BF16, run only where CPUID shows all of what its flags in CMakeLists.txt
// name.
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

#include "kernels/isa/vec512.h"

#include "kernels/isa/decode_avx512.h"

#include "kernels/isa/body.h"

#include "kernels/isa/pairs_avx512.h"

#include "kernels/isa/flash_pack_avx512.h"

#include "kernels/isa/flash_avx512.h"

#include "kernels/isa/decode_panel_avx512.h"

#include "kernels/isa/prompt_avx512.h"

#include "kernels/isa/prompt_int8_avx512.h"

constexpr Table avx512() {
  Table table = make_table("avx512");
  table.decode_product = decode_panels;
  table.prompt_bf16 = {kPanelRows,   kPanelColumns,       panel_block_bytes<PairUnit>,
                       prepare_bf16, prepare_turned_bf16, panel_product<PairUnit>};
  table.prompt_int8 = {kPanelRows,   kPanelColumns, panel_block_bytes<QuadUnit>,
                       prepare_int8, nullptr,       panel_product<QuadUnit>};
  table.attend_bf16 = attend_bf16;
  return table;
}

constexpr Table kTable = avx512();

}  // namespace

const Table& avx512_table() { return kTable; }

}  // namespace fovea::kernels::isa
