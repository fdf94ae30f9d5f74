// Tokens of one window of sound, by a Whisper model. Engine thread only.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "core/host_tensor.h"
#include "generate/speech/one_sequence_cache.h"
#include "generate/speech/whisper_rules.h"
#include "models/model.h"

namespace fovea::generate {

struct WindowAnswer {
  std::vector<int32_t> tokens;  // without the end
  double mean_logprob = 0;
  double no_speech_probability = 0;
  double temperature = 0;
};

class WindowDecoder {
 public:
  WindowDecoder(std::shared_ptr<const models::Model> model, WhisperTokens tokens);

  // What is decoded from now on: feature rows of a window.
  void take(HostTensor rows, const models::StageSink& sink);

  // Logits of the row behind `prompt`.
  std::vector<float> logits_behind(std::span<const int32_t> prompt);

  // `prompt` ends with the sequence that begins a transcript, whose first token is at `start`.
  // Temperature 0 takes the likeliest token. `stop` may be empty.
  WindowAnswer decode(const std::vector<int32_t>& prompt, size_t start, bool with_timestamps,
                      double temperature, std::mt19937_64& random,
                      const std::function<bool()>& stop);

  // How all rows of `tokens` look at the states, [tokens, S] for each of the heads, and how likely
  // each row held the token behind it.
  struct Attention {
    std::vector<std::vector<float>> weights;
    std::vector<double> probabilities;  // one less than there are tokens
  };
  Attention attention(std::span<const int32_t> tokens,
                      const std::vector<OneSequenceCache::Head>& heads);

  const WhisperTokens& tokens() const { return tokens_; }
  const models::ModelInfo& info() const { return model_->info(); }

 private:
  std::vector<std::vector<float>> step(std::span<const int32_t> tokens, std::vector<int> rows,
                                       bool generated);

  std::shared_ptr<const models::Model> model_;
  WhisperTokens tokens_;
  OneSequenceCache cache_;
  models::StageSink sink_;
};

}  // namespace fovea::generate
