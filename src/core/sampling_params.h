// What a request asks of the sampler. An absent value means: the checkpoint's
// generation_config.json, then the library's default. Ranges are in core/limits.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/limits.h"

namespace fovea {

struct SamplingParams {
  std::optional<double> temperature;         // 0 is greedy
  std::optional<double> top_p;               // 0 and 1 are off
  std::optional<int> top_k;                  // 0 is off
  std::optional<double> min_p;               // 0 is off
  std::optional<double> repetition_penalty;  // 1 is off
  std::optional<double> presence_penalty;    // 0 is off
  std::optional<double> frequency_penalty;   // 0 is off
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;  // absent: random
  std::vector<std::string> stop;
  int max_tokens = kMaxTokens.standard;
};

}  // namespace fovea
