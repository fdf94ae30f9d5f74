#include "processors/audio/sound_features.h"

#include <algorithm>
#include <cmath>

#include "processors/audio/mel_spectrogram.h"

namespace fovea::processors {
namespace {

constexpr size_t kGemmaSamplesMax = 30 * kSoundRate;
constexpr size_t kGemmaMultiple = 128;  // of samples

HostTensor as_rows(const std::vector<double>& values, int mels) {
  HostTensor rows;
  rows.shape = {static_cast<int>(values.size()) / mels, mels};
  rows.data.assign(values.begin(), values.end());
  return rows;
}

// At most 30 s, with `before` zeros, and zeros behind up to a multiple.
std::vector<float> gemma_samples(std::span<const float> samples, size_t before) {
  const size_t count = std::min(samples.size(), kGemmaSamplesMax);
  const size_t padded = (count + kGemmaMultiple - 1) / kGemmaMultiple * kGemmaMultiple;
  std::vector<float> all(before + padded, 0);
  std::copy_n(samples.begin(), count, all.begin() + static_cast<std::ptrdiff_t>(before));
  return all;
}

}  // namespace

SoundFeatures whisper_features(std::span<const float> samples, int mels, size_t padded) {
  MelSpec spec;
  spec.mels = mels;
  const auto edge = static_cast<size_t>(spec.fft) / 2;
  std::vector<float> all(padded + 2 * edge, 0);
  const size_t count = std::min(samples.size(), padded);
  std::copy_n(samples.begin(), count, all.begin() + static_cast<std::ptrdiff_t>(edge));
  const auto sample = [&](size_t i) -> float& { return all[edge + i]; };
  for (size_t i = 1; i <= edge && i < padded; ++i) {
    all[edge - i] = sample(i);
    sample(padded - 1 + i) = sample(padded - 1 - i);
  }
  const auto frames = static_cast<int>(padded / static_cast<size_t>(spec.hop));
  auto values = mel_spectrogram(spec, all, frames);
  double largest = -10;
  for (double& value : values) {
    value = std::log10(std::max(value, 1e-10));
    largest = std::max(largest, value);
  }
  for (double& value : values) value = (std::max(value, largest - 8) + 4) / 4;
  const auto hop = static_cast<size_t>(spec.hop);
  return {as_rows(values, mels), static_cast<int>((count + hop - 1) / hop)};
}

SoundFeatures phi4_features(std::span<const float> samples) {
  MelSpec spec;
  spec.fft = 512;
  spec.hamming = true;
  spec.preemphasis = 0.97;
  spec.scale = 32768;
  spec.mel_scale = MelScale::kSpeechLib;
  spec.high = 7690;
  const int frames = frame_count(spec, samples.size());
  auto values = mel_spectrogram(spec, samples, frames);
  for (double& value : values) value = std::log(std::max(value, 1.0));
  return {as_rows(values, spec.mels), frames};
}

int phi4_tokens(int rows) {
  constexpr int kRowsOfToken = 8;
  return (rows + kRowsOfToken - 1) / kRowsOfToken;
}

SoundFeatures gemma3n_features(std::span<const float> samples) {
  MelSpec spec;
  spec.frame = 512;
  spec.fft = 1024;
  spec.preemphasis = 0.97;
  spec.power = false;
  spec.mels = 128;
  spec.mel_scale = MelScale::kHtk;
  spec.low = 125;
  spec.high = 7600;
  const auto all = gemma_samples(samples, 0);
  const int frames = frame_count(spec, all.size(), 1);
  auto values = mel_spectrogram(spec, all, frames);
  for (double& value : values) value = std::log(std::max(value, 1e-5));
  // Frames that begin within the sound.
  const auto count = static_cast<int>(std::min(samples.size(), kGemmaSamplesMax));
  return {as_rows(values, spec.mels), std::min(frames, (count + spec.hop - 1) / spec.hop)};
}

SoundFeatures gemma4_features(std::span<const float> samples) {
  MelSpec spec;
  spec.frame = 320;
  spec.fft = 512;
  spec.power = false;
  spec.mels = 128;
  spec.mel_scale = MelScale::kHtk;
  const auto before = static_cast<size_t>(spec.frame) / 2;
  const auto all = gemma_samples(samples, before);
  const int frames = frame_count(spec, all.size(), 1);
  auto values = mel_spectrogram(spec, all, frames);
  for (double& value : values) value = std::log(value + 1e-3);
  // The sample behind a frame must be there too.
  const size_t count = before + std::min(samples.size(), kGemmaSamplesMax);
  const int filled = std::min(frames, frame_count(spec, count, 1));
  std::fill(values.begin() + std::ptrdiff_t{filled} * spec.mels, values.end(), 0.0);
  return {as_rows(values, spec.mels), filled};
}

}  // namespace fovea::processors
