// What sound towers are given: rows of log mel energies [frames, mels]. Sound is one channel at
// 16000 samples a second. Any thread may call, but those of a ThreadPool's loop.
#pragma once

#include <span>

#include "core/host_tensor.h"

namespace fovea::processors {

inline constexpr int kSoundRate = 16000;

struct SoundFeatures {
  HostTensor rows;  // [frames, mels]
  int filled = 0;   // the first frames, which are of the sound itself and not of padding
};

// Whisper's: a row each 10 ms of `padded` samples, those behind the sound's zeros; the sound is cut
// there. Each row stands in the middle of its 25 ms; what would lie before the first sample is
// mirrored, and so behind the last. log10 of energies of at least 1e-10, held to 8 below the
// largest, then (x + 4) / 4. `mels` is 80, or 128 for large-v3. Source: Whisper's paper
// (2212.04356) and Hugging Face WhisperFeatureExtractor.
SoundFeatures whisper_features(std::span<const float> samples, int mels, size_t padded);

// Phi-4 multimodal's: 80 mels, ln of energies of at least 1. Source: Microsoft's checkpoint code,
// as mlx-vlm has it; Hugging Face's class adds one more bin to the last mel.
SoundFeatures phi4_features(std::span<const float> samples);
// Tokens of so many rows.
int phi4_tokens(int rows);

// Gemma 3n's: 128 mels of 125 to 7600 Hz, 32 ms in an FFT of twice the length, ln of at least 1e-5.
// At most 30 s; samples are padded to a multiple of 128. Source: Hugging Face
// Gemma3nAudioFeatureExtractor.
SoundFeatures gemma3n_features(std::span<const float> samples);

// Gemma 4's: 128 mels up to 8000 Hz, 20 ms, ln of 1e-3 more, zeros where a frame is not wholly the
// sound's. Lengths as Gemma 3n's. Source: Hugging Face Gemma4AudioFeatureExtractor.
SoundFeatures gemma4_features(std::span<const float> samples);

}  // namespace fovea::processors
