#include "kernels/isa/tile_leaves.h"

#include <gtest/gtest.h>

namespace fovea::kernels::isa {
namespace {

constexpr CpuidLeaf kTiles = {0, 0, 0, 1u << 24};
constexpr CpuidLeaf kPalette = {8192 | 1024 << 16, 64 | 8 << 16, 16, 0};  // a Sapphire Rapids's
constexpr CpuidLeaf kProduct = {0, 16 | 64 << 8, 0, 0};

// A processor whose leaf 7, 0x1D and 0x1E are these.
template <CpuidLeaf features, CpuidLeaf palette, CpuidLeaf product>
CpuidLeaf processor(uint32_t leaf, uint32_t subleaf) {
  if (leaf == 7 && subleaf == 0) return features;
  if (leaf == 0x1D && subleaf == 1) return palette;
  if (leaf == 0x1E && subleaf == 0) return product;
  return {};
}

TEST(TileLeaves, HideOnlyWhatTheProcessorHas) {
  EXPECT_FALSE(hides_tile_sizes(processor<kTiles, kPalette, kProduct>));
  EXPECT_TRUE(hides_tile_sizes(processor<kTiles, CpuidLeaf{}, kProduct>));
  EXPECT_TRUE(hides_tile_sizes(processor<kTiles, kPalette, CpuidLeaf{}>));
  EXPECT_FALSE(hides_tile_sizes(processor<CpuidLeaf{}, CpuidLeaf{}, CpuidLeaf{}>));
}

}  // namespace
}  // namespace fovea::kernels::isa
