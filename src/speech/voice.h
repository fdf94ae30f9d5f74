// Text into sound. The default voice is the program espeak-ng, which runs as a child: text goes in
// through a pipe, a WAV comes out of another. A neural voice implements the same interface.
#pragma once

#include <memory>
#include <string>

#include "core/sound.h"

namespace fovea::speech {

struct VoiceSettings {
  std::string voice = "en";  // a language or a name that the program knows
  int words_per_minute = 175;
};

class Voice {
 public:
  virtual ~Voice() = default;
  // Throws Error(kInvalidArgument) for text without words, Error(kIo) when the voice fails. For one
  // thread at a time.
  virtual Sound speak(const std::string& text) = 0;
};

// Throws Error(kUnsupported) naming the package where espeak-ng is not installed,
// Error(kInvalidArgument) for a voice that it does not have.
std::unique_ptr<Voice> make_espeak_voice(const VoiceSettings& settings);

// A WAV of 16-bit samples, for whoever keeps what was said.
std::string wav_bytes(const Sound& sound);

}  // namespace fovea::speech
