// How many bits each weight gets. Values; any thread may call.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fovea::convert {

// One of MLX's ways to quantise: groups of a row share a scale, and a bias where the mode is
// affine.
struct QuantFormat {
  std::string mode = "affine";
  int group_size = 64;
  int bits = 4;

  bool operator==(const QuantFormat&) const = default;
};

// affine, mxfp4, nvfp4, mxfp8.
std::vector<std::string> quant_modes();

// What is absent has the mode's standard value; only affine takes others. Throws
// Error(kInvalidArgument) naming the flag.
QuantFormat quant_format(const std::string& mode, std::optional<int> group_size,
                         std::optional<int> bits);

struct Recipe {
  QuantFormat format;
  // Of the weights that matter most, where the recipe is mixed.
  std::optional<int> more_bits;
};

// mixed_2_6, mixed_3_4, ...: the bits of most weights and of those that get more.
std::vector<std::string> mixed_recipes();
// Throws Error(kInvalidArgument) for a name that mixed_recipes() does not have.
Recipe mixed_recipe(const std::string& name);

// The format of the weight of module `path` in a decoder of `num_layers`. Mixed: more bits for the
// embeddings and the head, for v_proj and down_proj in the first and the last eighth of the layers
// and in every third between, and for towers, which are small. Source: mlx-vlm's mixed recipes,
// which leave towers alone.
QuantFormat format_of(const Recipe& recipe, const std::string& path, int num_layers);

}  // namespace fovea::convert
