// Who may use tiles: asked of machines that are not this one.
#include "kernels/isa/tiles.h"

#include <gmock/gmock.h>

namespace fovea::kernels::isa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint32_t kBf16 = 1u << 22;
constexpr uint32_t kTile = 1u << 24;
constexpr uint32_t kInt8 = 1u << 25;
constexpr CpuidLeaf kPalette = {8192 | 1024 << 16, 64 | 8 << 16, 16, 0};  // a Sapphire Rapids's
constexpr CpuidLeaf kProduct = {0, 16 | 64 << 8, 0, 0};

// A processor with these features, whose leaves 0x1D and 0x1E are these.
template <uint32_t features, CpuidLeaf palette = kPalette, CpuidLeaf product = kProduct>
CpuidLeaf processor(uint32_t leaf, uint32_t subleaf) {
  if (leaf == 7 && subleaf == 0) return {0, 0, 0, features};
  if (leaf == 0x1D && subleaf == 1) return palette;
  if (leaf == 0x1E && subleaf == 0) return product;
  return {};
}
constexpr auto all = processor<kBf16 | kTile | kInt8>;

int asked = 0;

bool granted() {
  ++asked;
  return true;
}
bool refused() {
  ++asked;
  return false;
}
uint64_t saved() { return 0x600e7; }
uint64_t configuration_only() { return 0x200e7; }

TEST(Tiles, AreThereWhenAllAgree) {
  const auto support = tile_support({all, saved, granted});
  EXPECT_THAT(support.missing, IsEmpty());
  EXPECT_THAT(support.present, SizeIs(5));
}

TEST(Tiles, NeedTheProcessorFirst) {
  asked = 0;
  EXPECT_THAT(tile_support({processor<0>, saved, granted}).missing,
              ElementsAre("amx-tile", "amx-bf16", "amx-int8"));
  EXPECT_THAT(tile_support({processor<kBf16 | kTile>, saved, granted}).missing,
              ElementsAre("amx-int8"));
  EXPECT_EQ(asked, 0) << "for what the processor does not have";
}

TEST(Tiles, NeedASystemThatSavesBothParts) {
  asked = 0;
  EXPECT_THAT(tile_support({all, configuration_only, granted}).missing,
              ElementsAre("tiles saved by the system (XCR0)"));
  EXPECT_EQ(asked, 0);
}

TEST(Tiles, NeedThePermission) {
  asked = 0;
  EXPECT_THAT(tile_support({all, saved, refused}).missing,
              ElementsAre("the system's permission for tiles (arch_prctl)"));
  EXPECT_EQ(asked, 1);
}

TEST(Tiles, HideTheirSizesOnlyWhereTheyAre) {
  const auto hides = [](auto cpuid) { return hides_tile_sizes({cpuid, saved, granted}); };
  EXPECT_FALSE(hides(processor<kTile>));
  EXPECT_TRUE(hides(processor<kTile, CpuidLeaf{}>));
  EXPECT_TRUE(hides(processor<kTile, kPalette, CpuidLeaf{}>));
  EXPECT_FALSE(hides(processor<0, CpuidLeaf{}, CpuidLeaf{}>));
}

TEST(Tiles, AreRefusedWhole) {
  EXPECT_TRUE(refuses_tile_instructions({processor<0>, saved, granted}));
  EXPECT_TRUE(refuses_tile_instructions({all, configuration_only, granted}));
  // Its configuration would be taken, and its data refused.
  EXPECT_FALSE(refuses_tile_instructions({all, saved, refused}));
  EXPECT_FALSE(refuses_tile_instructions({processor<kTile>, saved, granted}));
}

}  // namespace
}  // namespace fovea::kernels::isa
