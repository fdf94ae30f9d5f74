// Attention of decoders to media states: what an encoder made of a sequence's pictures (or, in
// encoder-decoder families, of its input). Keys and values of the states are made once and lie in
// the cache; rows bring queries only, without positions. Engine thread only.
//
// Legend: T rows of a step, U those of them that look at states, S states of a sequence, D hidden
// size.
#pragma once

#include <optional>
#include <span>

#include "nn/attention.h"

namespace fovea::nn {

// Parameters: q_proj, k_proj, v_proj, o_proj, and q_norm and k_norm with `qk_norm`, which stand
// over each head.
class CrossAttention : public Module {
 public:
  explicit CrossAttention(const AttentionConfig& config);

  // Gives the cache what `layer` has to look at: keys and values of states_SD.
  void keep(const mx::array& states_SD, int layer, int sequence, KvCache& cache) const;

  // The block's output for norm(x), of rows `looking` one behind the other.
  mx::array operator()(const mx::array& x_UD, const RmsNorm& norm, int layer, KvCache& cache,
                       std::span<const LookingRows> looking) const;

  // The same for rows that are normalised already, by a layer norm say.
  mx::array operator()(const mx::array& normed_UD, int layer, KvCache& cache,
                       std::span<const LookingRows> looking) const;

  void visit(Visitor& visitor) override;

 private:
  AttentionSpec spec() const;
  mx::array look(const mx::array& q_UD, int layer, KvCache& cache,
                 std::span<const LookingRows> looking) const;

  AttentionConfig config_;
  Linear q_proj_;
  Linear k_proj_;
  Linear v_proj_;
  Linear o_proj_;
  std::optional<RmsNorm> q_norm_;
  std::optional<RmsNorm> k_norm_;
};

// The rows of x_TD that look at states, one behind the other: x_TD itself where all do.
mx::array rows_that_look(const mx::array& x_TD, std::span<const LookingRows> looking);

// x_TD with `changed` in the place of those rows.
mx::array with_rows_that_look(const mx::array& x_TD, const mx::array& changed_UD,
                              std::span<const LookingRows> looking);

// The first of those rows, counted one behind the other, that belongs to a generated token.
int first_decode_row(std::span<const LookingRows> looking);

}  // namespace fovea::nn
