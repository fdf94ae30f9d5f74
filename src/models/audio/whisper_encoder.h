// Whisper's encoder: two convolutions over log mel rows, of which the second halves their number,
// sinusoids, and pre-norm blocks that see everything. Sources: Whisper's paper (2212.04356) and
// Hugging Face modeling_whisper. Engine thread only.
//
// Legend: T feature rows, M mels, S states (T / 2), D width.
#pragma once

#include <optional>
#include <vector>

#include "core/host_tensor.h"
#include "models/audio/whisper_config.h"
#include "models/vision/block.h"

namespace fovea::models::audio {

namespace mx = mlx::core;

// A convolution of three neighbouring rows, run as a product, and its GELU. Never quantised.
class RowConvolution : public nn::Module {
 public:
  RowConvolution(int in, int out, int stride);
  mx::array operator()(const mx::array& x_TM) const;
  void visit(nn::Visitor& visitor) override;

 private:
  int stride_;
  mx::array weight_;  // [out, 3 in], the rows of an input one behind the other
  mx::array bias_;
};

// Parameters: conv1, conv2, embed_positions.weight, layers.N as a VitBlock, layer_norm.
class WhisperEncoder : public nn::Module {
 public:
  explicit WhisperEncoder(const WhisperConfig& config);
  // States [S, D] of a window's rows [2 * max_source_positions, M]. Other shapes are
  // Error(kInvalidData).
  mx::array encode(const HostTensor& rows) const;
  // Before loading: checkpoints may leave the sinusoids to the formula.
  void settle_positions(bool checkpoint_has_them);
  void visit(nn::Visitor& visitor) override;

 private:
  WhisperConfig config_;
  RowConvolution conv1_;
  RowConvolution conv2_;
  bool stored_positions_ = true;
  mx::array positions_SD_;
  std::vector<vision::VitBlock> layers_;
  nn::LayerNorm layer_norm_;
};

}  // namespace fovea::models::audio
