// The sizes that vision_config of most towers has. Any thread may call.
#pragma once

#include "models/config.h"

namespace fovea::models::vision {

// Reads hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_channels,
// patch_size and, where the tower has one, image_size into members of these names; what the config
// leaves out stays. `heads_key` is what the config calls the heads. Throws Error(kInvalidData)
// naming the key of a size out of range, and where heads do not divide the width.
template <class TowerConfig>
void read_tower_sizes(const Json& config, TowerConfig& c,
                      const char* heads_key = "num_attention_heads") {
  c.hidden_size = optional_size(config, "hidden_size", c.hidden_size);
  c.intermediate_size = optional_size(config, "intermediate_size", c.intermediate_size);
  c.num_hidden_layers = optional_size(config, "num_hidden_layers", c.num_hidden_layers, kLayersMax);
  c.num_attention_heads = optional_size(config, heads_key, c.num_attention_heads);
  require_multiple(config, "hidden_size", c.hidden_size, heads_key, c.num_attention_heads);
  int patch_max = kTowerPatchMax;
  if constexpr (requires { c.image_size; }) {
    c.image_size = optional_size(config, "image_size", c.image_size, kTowerSideMax);
    patch_max = c.image_size;
  }
  c.patch_size = optional_size(config, "patch_size", c.patch_size, patch_max);
  c.num_channels = optional_size(config, "num_channels", c.num_channels, kTowerChannelsMax);
  product_size(config, "patches", {c.num_channels, c.patch_size, c.patch_size});
}

}  // namespace fovea::models::vision
