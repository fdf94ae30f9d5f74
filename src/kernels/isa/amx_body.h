// The text of the AMX variant, included by amx.cpp with the processor's tiles and by
// amx_emulated.cpp with the emulator's, inside an anonymous namespace. What tiles do not do better
// comes from the table of avx512.

#include "kernels/isa/vec256.h"

#include "kernels/isa/vec512.h"

#include "kernels/isa/decode_avx512.h"

#include "kernels/isa/body.h"

#include "kernels/isa/pairs_avx512.h"

#include "kernels/isa/flash_pack_avx512.h"

#include "kernels/isa/flash_avx512.h"

#include "kernels/isa/prompt_avx512.h"

#include "kernels/isa/amx_prompt.h"

#include "kernels/isa/amx_flash.h"

#include "kernels/isa/amx_decode.h"

template <class Tiles>
Table tile_table(std::string_view name) {
  Table table = avx512_table();
  table.name = name;
  table.prompt_bf16 = {kTileRows,
                       2 * kTileRows,
                       tile_block_bytes,
                       prepare_tile_rows,
                       prepare_turned_tile_rows,
                       tile_product<Tiles>,
                       TileScratch::kBytes};
  table.attend_bf16 = tile_attend<Tiles>;
  table.decode_product = tile_decode_product<Tiles>;
  return table;
}
