// From one row's logits to its next token. State is per request: a row's tokens depend on its own
// parameters, seed and history alone. One thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "core/limits.h"
#include "core/sampling_params.h"
#include "generate/candidates.h"

namespace fovea::generate {

// Parameters with every default filled in and every range checked.
struct Sampling {
  double temperature = kTemperature.standard;
  double top_p = kTopP.standard;
  int top_k = kTopK.standard;
  double min_p = kMinP.standard;
  double repetition_penalty = kRepetitionPenalty.standard;
  double presence_penalty = kPresencePenalty.standard;
  double frequency_penalty = kFrequencyPenalty.standard;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
};

// Request, then generation_config.json, then the library's defaults; do_sample false means greedy
// unless the request names a temperature, and then the checkpoint's filters are not looked at. An
// absent seed is random. Throws Error(kInvalidArgument) for a request's value out of its range or a
// bias that is not finite, Error(kInvalidData) naming the file for a checkpoint's.
Sampling resolve_sampling(const SamplingParams& params, const Json& generation_config);

class Sampler {
 public:
  // `history` is the whole prompt: penalties see it.
  Sampler(Sampling sampling, std::span<const int32_t> history);

  // Picks a token and adds it to the history. The logits are changed in place. Filters see
  // untempered log probabilities, in the order top_p, min_p, top_k. Throws Error(kInvalidData) for
  // logits of NaN or infinity, and when every token has -inf.
  int32_t sample(std::span<float> logits);

 private:
  int32_t draw(std::span<const Candidate> kept);

  Sampling sampling_;
  std::unordered_map<int32_t, int> counts_;  // of every token in the history, where penalties ask
  uint64_t position_ = 0;
  Candidates candidates_;
  std::vector<double> weights_;
};

// The steps of sample(), for tests.
void apply_penalties(const Sampling& sampling, const std::unordered_map<int32_t, int>& counts,
                     std::span<float> logits);
// REQUIRES: a finite logit, none of NaN or infinity.
std::vector<Candidate> kept_candidates(const Sampling& sampling, std::span<const float> logits);

}  // namespace fovea::generate
