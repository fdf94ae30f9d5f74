// Speech into text by a Whisper checkpoint: windows of 30 s, the language, temperatures that rise
// where an answer repeats itself or is unlikely, the text so far as context, timestamps by tokens
// and by word. Source: Whisper's paper (2212.04356), sections 3.8 and 4.5.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/sound.h"
#include "core/transcript.h"
#include "models/model.h"

namespace fovea::generate {

enum class Timestamps { kNone, kSegment, kWord };

struct TranscribeOptions {
  std::optional<std::string> language;  // a code; without one it is detected in the first window
  bool translate = false;               // into English
  Timestamps timestamps = Timestamps::kSegment;
  std::string prompt;  // what was said before, or words to expect
  bool condition_on_previous_text = true;
  // One after another until an answer passes the thresholds.
  std::vector<double> temperatures = {0, 0.2, 0.4, 0.6, 0.8, 1.0};
  double compression_ratio_threshold = 2.4;
  double logprob_threshold = -1;
  double no_speech_threshold = 0.6;
  uint64_t seed = 0;
  // Told after each window: seconds done of how many.
  std::function<void(double, double)> progress;
  // Asked before each token; true ends with what there is.
  std::function<bool()> stop;
  // As models::Model::forward() takes it, of the first window: input_features, encoder, hidden.i,
  // logits.
  models::StageSink stage_sink;
};

class Transcriber {
 public:
  // Reads a checkpoint folder (core/checkpoint.h) with its weights. Throws fovea::Error: for one
  // that is no whisper, Error(kInvalidArgument).
  explicit Transcriber(const std::string& model);
  ~Transcriber();
  Transcriber(const Transcriber&) = delete;
  Transcriber& operator=(const Transcriber&) = delete;

  // Of sound at 16000 samples a second. Throws Error(kInvalidArgument) for a language or a task
  // that the model does not know. For the thread that made it.
  Transcript transcribe(const Sound& sound, const TranscribeOptions& options = {});

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea::generate
