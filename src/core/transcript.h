// What a recogniser heard. Plain data; any thread may read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea {

struct SpokenWord {
  std::string text;  // with the space before it, where there is one
  double start = 0;  // seconds from the begin of the sound
  double end = 0;
  double probability = 0;
};

struct SpokenSegment {
  double start = 0;
  double end = 0;
  std::string text;
  std::vector<SpokenWord> words;  // where they were asked for
  // Of models that write tokens; empty and zeros elsewhere.
  std::vector<int32_t> tokens;
  double temperature = 0;
  double mean_logprob = 0;
  double compression_ratio = 0;
  double no_speech_probability = 0;
};

struct Transcript {
  std::string language;  // "en"; empty where the recogniser does not say
  double seconds = 0;    // of the sound
  std::vector<SpokenSegment> segments;
};

// The text of all segments, without spaces around it.
inline std::string whole_text(const Transcript& transcript) {
  std::string text;
  for (const auto& segment : transcript.segments) {
    if (!text.empty() && !segment.text.starts_with(' ')) text += ' ';
    text += segment.text;
  }
  const size_t first = text.find_first_not_of(" \n");
  const size_t last = text.find_last_not_of(" \n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

}  // namespace fovea
