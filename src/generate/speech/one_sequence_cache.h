// Keys and values of one sequence that attends to its own rows and to the states of one medium: a
// window of sound, which is decoded again and again at other temperatures. Engine thread only.
#pragma once

#include <vector>

#include "nn/kv_cache.h"

namespace fovea::generate {

namespace mx = mlx::core;

class OneSequenceCache : public nn::KvCache {
 public:
  // Rows are at most `rows_max`.
  OneSequenceCache(int layers, int rows_max) : layers_(layers), rows_max_(rows_max) {}

  // The next step begins with row 0 again; states stay until others are kept.
  void forget_rows() { length_ = 0; }
  int length() const { return length_; }

  // A head of a layer, whose weights over the states attend_across() keeps from now on.
  struct Head {
    int layer = 0;
    int head = 0;
  };
  void watch(std::vector<Head> heads);
  // [rows, S] of each watched head, of the last step.
  const std::vector<mx::array>& watched() const { return watched_; }

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
  struct Layer {
    mx::array k;
    mx::array v;
  };

  int layers_;
  int rows_max_;
  int length_ = 0;
  std::vector<Layer> rows_;    // [K, C, D]
  std::vector<Layer> states_;  // [S, K, D], the keys of a head together
  std::vector<nn::MediaView> views_;
  std::vector<Head> heads_;
  std::vector<mx::array> watched_;
};

}  // namespace fovea::generate
