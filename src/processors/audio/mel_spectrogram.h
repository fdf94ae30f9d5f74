// Short-time spectra of sound on a mel scale, as sound towers take them. Spectra are computed in
// doubles: what is compared with a loudest value 80 dB above is exact to the last digits of a
// float. Any thread may call, but those of a ThreadPool's loop.
#pragma once

#include <span>
#include <vector>

#include "core/host_tensor.h"

namespace fovea::processors {

enum class MelScale {
  kSlaney,  // linear up to 1000 Hz; triangles in Hz of equal area
  kHtk,     // 2595 log10(1 + f / 700); triangles in Hz of height 1
  // 1127 ln(1 + f / 700); triangles in mel of height 1, without the bins of the lowest and of the
  // highest frequency: Microsoft's SpeechLib
  kSpeechLib,
};

struct MelSpec {
  int rate = 16000;        // samples a second
  int frame = 400;         // samples, and
  int hop = 160;           // from one frame to the next
  int fft = 400;           // even; frames are padded with zeros to it
  bool hamming = false;    // a symmetric Hamming window, else a periodic Hann window
  double preemphasis = 0;  // x[i] - p x[i - 1] within a frame, (1 - p) x[0] for its first
  float scale = 1;         // of samples
  bool power = true;       // squares of magnitudes
  int mels = 80;
  MelScale mel_scale = MelScale::kSlaney;
  double low = 0;  // Hz
  double high = 8000;
};

// Frames that lie within so many samples, each with `behind` samples after it that it does not
// use.
int frame_count(const MelSpec& spec, size_t samples, int behind = 0);

// Mel energies [frames, mels] of the first `frames` frames, row-major, before any logarithm.
std::vector<double> mel_spectrogram(const MelSpec& spec, std::span<const float> samples,
                                    int frames);

}  // namespace fovea::processors
