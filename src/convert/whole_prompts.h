// A cache for prompts that are read whole, in one step: attention within them, to what media gave
// them, and nothing kept for later. Engine thread only.
#pragma once

#include <map>
#include <vector>

#include "nn/kv_cache.h"

namespace fovea::convert {

namespace mx = mlx::core;

// Sequences are what segments name; each is new.
class WholePrompts : public nn::KvCache {
 public:
  mx::array attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                   const mx::array& v_TKD, std::span<const nn::Segment> segments,
                   const nn::AttentionSpec& spec) override;
  void set_views(int sequence, std::vector<nn::MediaView> views) override;
  void keep_states(int layer, int sequence, const mx::array& k_SKD, const mx::array& v_SKD,
                   const nn::AttentionSpec& spec) override;
  std::vector<nn::LookingRows> looking_rows(std::span<const nn::Segment> segments) const override;
  mx::array attend_across(int layer, const mx::array& q_UHD,
                          std::span<const nn::LookingRows> looking,
                          const nn::AttentionSpec& spec) override;

 private:
  struct States {
    mx::array k_SKD;
    mx::array v_SKD;
  };
  std::map<int, std::vector<nn::MediaView>> views_;
  std::map<int, std::vector<States>> states_;  // of each layer that looks across
};

}  // namespace fovea::convert
