// What tests of the AMX variant run on: the kernels' text with emulated tiles, and the kernels as
// they are shipped, by the processor where it has tiles and this process may use them, else by
// TileTrap.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "kernels/isa/amx_emulated.h"
#include "kernels/isa/tile_emulator.h"
#include "kernels/isa/tile_trap.h"
#include "kernels/isa/tiles.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {

enum class TilesBy { kEmulation, kInstructions };

class OnTiles : public ::testing::TestWithParam<TilesBy> {
 protected:
  void SetUp() override {
    // The kernels have AVX-512 beside the tiles.
    if (!find_table("avx512")) GTEST_SKIP() << "this processor has no AVX-512 with BF16";
    if (GetParam() == TilesBy::kEmulation || find_table("amx")) return;
    if (!refuses_tile_instructions(this_machine())) {
      GTEST_SKIP() << "this machine has some of the tile instructions only, or no permission";
    }
    trap_.emplace();
  }
  static const Table& amx() {
    return GetParam() == TilesBy::kEmulation ? emulated_amx_table() : amx_table();
  }

 private:
  std::optional<TileTrap> trap_;
};

inline std::string tiles_name(const ::testing::TestParamInfo<TilesBy>& test) {
  return test.param == TilesBy::kEmulation ? "Emulated" : "Instructions";
}

#define INSTANTIATE_ON_TILES(suite) \
  INSTANTIATE_TEST_SUITE_P(         \
      Tiles, suite, ::testing::Values(TilesBy::kEmulation, TilesBy::kInstructions), tiles_name)

}  // namespace fovea::kernels::isa
