// What Whisper may write next, and what a window's tokens say of time: the rules of its paper
// (2212.04356, section 4.5) and of the code published with it. Pure functions; any thread may call.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "generate/speech/whisper_tokens.h"

namespace fovea::generate {

inline constexpr double kTimestampSeconds = 0.02;

// Sets what may not follow `written` to minus infinity. `first_timestamp_max` is how many
// timestamps behind 0 the first one may be.
void apply_whisper_rules(const WhisperTokens& tokens, std::span<const int32_t> written,
                         bool with_timestamps, int first_timestamp_max, std::span<float> logits);

// Logits into logarithms of probabilities.
void log_softmax(std::span<float> logits);

// A stretch between two timestamps: its tokens, and seconds from the window's begin.
struct TimedTokens {
  double start = 0;
  double end = 0;
  std::vector<int32_t> tokens;
};

// What a window of `seconds` says, and how many of them are done with: the next window begins at
// the last timestamp of a pair, since what follows it may be cut.
struct WindowReading {
  std::vector<TimedTokens> stretches;
  double seconds_done = 0;
};
WindowReading read_window(const WhisperTokens& tokens, std::span<const int32_t> written,
                          double seconds);

// Bytes of the text to those that zlib makes of it: high where it repeats itself.
double compression_ratio(const std::string& text);

}  // namespace fovea::generate
