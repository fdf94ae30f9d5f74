// Whisper's sizes, in the spelling of Hugging Face's config.json. Any thread may call.
#pragma once

#include "base/json.h"

namespace fovea::models::audio {

struct WhisperConfig {
  int vocab_size = 0;
  int num_mel_bins = 0;
  int d_model = 0;
  int encoder_layers = 0;
  int encoder_attention_heads = 0;
  int encoder_ffn_dim = 0;
  int decoder_layers = 0;
  int decoder_attention_heads = 0;
  int decoder_ffn_dim = 0;
  int max_source_positions = 0;  // states of a window: half of its feature rows
  int max_target_positions = 0;
};

// From Hugging Face's keys or from those of MLX's conversions (n_mels, n_audio_state, ...). Throws
// Error(kInvalidData) naming the key for sizes that make no model.
WhisperConfig read_whisper_config(const Json& config);

}  // namespace fovea::models::audio
