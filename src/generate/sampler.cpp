#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>

#include "base/error.h"
#include "core/limits.h"
#include "generate/vocabulary.h"

namespace fovea::generate {
namespace {

constexpr double kTemperatureMin = 0.01;

// The request's value, else generation_config.json's, else the library's.
template <class T>
T chosen(const Limit<T>& limit, const std::optional<T>& asked, const Json& config) {
  if (asked) {
    require_within(limit, *asked, "sampling", ErrorKind::kInvalidArgument);
    return *asked;
  }
  const Json given = config[limit.name];
  if (given.is_null()) return limit.standard;
  T value{};
  if constexpr (std::is_integral_v<T>) {
    value = given.as_int32();
  } else {
    value = given.as_double();
  }
  require_within(limit, value, given.where(), ErrorKind::kInvalidData);
  return value;
}

// Some libraries write -1 for all tokens.
int chosen_top_k(const std::optional<int>& asked, const Json& config) {
  const Json given = config[kTopK.name];
  if (!asked && given.is_integer() && given.as_int() == -1) return 0;
  return chosen(kTopK, asked, config);
}

void require_finite(const std::vector<std::pair<int32_t, float>>& logit_bias) {
  for (const auto& [id, bias] : logit_bias) {
    if (std::isfinite(bias)) continue;
    fail(ErrorKind::kInvalidArgument, "[sampling] expected a finite bias for token {} but got {}",
         id, bias);
  }
}

// The largest logit. What a model with broken weights gives must not become an answer. A token that
// a template or a mask rules out has -inf, which is as good as a number unless all have it.
float usable_peak(std::span<const float> logits) {
  const float peak = vocabulary_passes().peak(logits);
  if (std::isfinite(peak)) return peak;
  const bool any_nan =
      std::any_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); });
  fail(ErrorKind::kInvalidData, "[sampler] expected finite logits but got {}",
       any_nan            ? "NaN"
       : std::isnan(peak) ? "infinity"
                          : "none");
}

// A number in [0, 1) that depends on seed and position alone (SplitMix64, Steele et al. 2014).
double uniform(uint64_t seed, uint64_t position) {
  uint64_t z = seed + (position + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ z >> 31) >> 11) * 0x1.0p-53;
}

bool penalises(const Sampling& s) {
  return s.repetition_penalty != 1 || s.presence_penalty != 0 || s.frequency_penalty != 0;
}

Filters filters_of(const Sampling& s) { return {s.top_p, s.min_p, s.top_k}; }

}  // namespace

Sampling resolve_sampling(const SamplingParams& params, const Json& config) {
  Sampling s;
  const bool greedy = !config.get_bool("do_sample", true) && !params.temperature;
  s.temperature = greedy ? 0 : chosen(kTemperature, params.temperature, config);
  // Filters that a greedy answer never meets need not be right in the checkpoint.
  const Json filters = s.temperature > 0 ? config : Json();
  s.top_p = chosen(kTopP, params.top_p, filters);
  s.top_k = chosen_top_k(params.top_k, filters);
  s.min_p = chosen(kMinP, params.min_p, filters);
  s.repetition_penalty = chosen(kRepetitionPenalty, params.repetition_penalty, config);
  s.presence_penalty = chosen(kPresencePenalty, params.presence_penalty, Json());
  s.frequency_penalty = chosen(kFrequencyPenalty, params.frequency_penalty, Json());
  require_finite(params.logit_bias);
  s.logit_bias = params.logit_bias;
  if (s.temperature > 0) s.temperature = std::max(s.temperature, kTemperatureMin);
  s.seed =
      params.seed ? *params.seed : uint64_t{std::random_device{}()} << 32 | std::random_device{}();
  return s;
}

void apply_penalties(const Sampling& s, const std::unordered_map<int32_t, int>& counts,
                     std::span<float> logits) {
  const auto size = static_cast<int32_t>(logits.size());
  for (const auto& [id, bias] : s.logit_bias) {
    if (id >= 0 && id < size) logits[static_cast<size_t>(id)] += bias;
  }
  const auto repetition = static_cast<float>(s.repetition_penalty);
  for (const auto& [id, count] : counts) {
    if (id >= size) continue;
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit < 0 ? logit * repetition : logit / repetition;
    logit -= static_cast<float>(s.presence_penalty + s.frequency_penalty * count);
  }
}

std::vector<Candidate> kept_candidates(const Sampling& s, std::span<const float> logits) {
  Candidates candidates;
  const auto kept = candidates.keep(filters_of(s), logits, usable_peak(logits));
  return {kept.begin(), kept.end()};
}

Sampler::Sampler(Sampling sampling, std::span<const int32_t> history)
    : sampling_(std::move(sampling)) {
  if (!penalises(sampling_)) return;
  for (const int32_t id : history) ++counts_[id];
}

int32_t Sampler::draw(std::span<const Candidate> kept) {
  const double peak = kept.front().logprob;
  if (weights_.size() < kept.size()) weights_.resize(kept.size());
  const auto weights = std::span(weights_).first(kept.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    weights[i] = (kept[i].logprob - peak) / sampling_.temperature;
  }
  vocabulary_passes().exponentials(weights);
  double total = 0;
  for (const double weight : weights) total += weight;
  double rest = uniform(sampling_.seed, position_) * total;
  for (size_t i = 0; i < kept.size(); ++i) {
    rest -= weights[i];
    if (rest < 0) return kept[i].id;
  }
  return kept.back().id;
}

int32_t Sampler::sample(std::span<float> logits) {
  apply_penalties(sampling_, counts_, logits);
  const float peak = usable_peak(logits);
  const int32_t id = sampling_.temperature == 0
                         ? static_cast<int32_t>(vocabulary_passes().find(logits, peak))
                         : draw(candidates_.keep(filters_of(sampling_), logits, peak));
  ++position_;
  if (penalises(sampling_)) ++counts_[id];
  return id;
}

}  // namespace fovea::generate
