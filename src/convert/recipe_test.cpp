#include "convert/recipe.h"

#include "support/expect_error.h"

namespace fovea::convert {
namespace {

int bits_of(const std::string& path, int num_layers) {
  return format_of(mixed_recipe("mixed_3_6"), path, num_layers).bits;
}

std::string layer(int index, const std::string& part) {
  return "language_model.model.layers." + std::to_string(index) + "." + part;
}

TEST(Recipe, ModesHaveTheirOneForm) {
  EXPECT_EQ(quant_format("affine", {}, {}), (QuantFormat{"affine", 64, 4}));
  EXPECT_EQ(quant_format("affine", 32, 3), (QuantFormat{"affine", 32, 3}));
  EXPECT_EQ(quant_format("mxfp4", {}, {}), (QuantFormat{"mxfp4", 32, 4}));
  EXPECT_EQ(quant_format("nvfp4", 16, {}), (QuantFormat{"nvfp4", 16, 4}));
  EXPECT_EQ(quant_format("mxfp8", {}, 8), (QuantFormat{"mxfp8", 32, 8}));
  EXPECT_ERROR(
      quant_format("mxfp4", 64, {}), ErrorKind::kInvalidArgument,
      "[--q-mode] expected mxfp4 with 4 bits in groups of 32 but got 4 bits in groups of 64");
  EXPECT_ERROR(quant_format("int4", {}, {}), ErrorKind::kInvalidArgument, "affine, mxfp4");
}

// 32 layers: the first and the last four, and of those between every third.
TEST(Recipe, MixedGivesMoreWhereItMatters) {
  for (int i = 0; i < 32; ++i) {
    const bool more = i < 4 || i >= 28 || i == 6 || i == 9 || i == 12 || i == 15 || i == 18 ||
                      i == 21 || i == 24 || i == 27;
    EXPECT_EQ(bits_of(layer(i, "self_attn.v_proj"), 32), more ? 6 : 3) << i;
    EXPECT_EQ(bits_of(layer(i, "mlp.down_proj"), 32), more ? 6 : 3) << i;
    EXPECT_EQ(bits_of(layer(i, "mlp.up_proj"), 32), 3) << i;
  }
  EXPECT_EQ(bits_of("language_model.lm_head", 32), 6);
  EXPECT_EQ(bits_of("language_model.model.embed_tokens", 32), 6);
  EXPECT_EQ(bits_of("vision_tower.blocks.9.mlp.fc1", 32), 6);
}

TEST(Recipe, EveryMixedOneIsWhatItsNameSays) {
  EXPECT_EQ(mixed_recipes().size(), 7u);
  for (const auto& name : mixed_recipes()) {
    const Recipe recipe = mixed_recipe(name);
    EXPECT_EQ(name, fmt::format("mixed_{}_{}", recipe.format.bits, *recipe.more_bits));
  }
  EXPECT_ERROR(mixed_recipe("mixed_1_2"), ErrorKind::kInvalidArgument, "mixed_2_6, mixed_3_4");
}

}  // namespace
}  // namespace fovea::convert
