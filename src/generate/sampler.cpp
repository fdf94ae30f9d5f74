#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>

#include "base/error.h"
#include "core/limits.h"

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

// What a model with broken weights gives must not become an answer. A token that a template or a
// mask rules out has -inf, which is as good as a number unless all have it.
void require_usable(std::span<const float> logits) {
  bool any = false;
  for (const float logit : logits) {
    any = any || std::isfinite(logit);
    if (!std::isnan(logit) && logit != std::numeric_limits<float>::infinity()) continue;
    fail(ErrorKind::kInvalidData, "[sampler] expected finite logits but got {}",
         std::isnan(logit) ? "NaN" : "infinity");
  }
  if (!any) fail(ErrorKind::kInvalidData, "[sampler] expected finite logits but got none");
}

// A number in [0, 1) that depends on seed and position alone (SplitMix64, Steele et al. 2014).
double uniform(uint64_t seed, uint64_t position) {
  uint64_t z = seed + (position + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ z >> 31) >> 11) * 0x1.0p-53;
}

bool likelier(const Candidate& a, const Candidate& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
}

std::vector<Candidate> log_probabilities(std::span<const float> logits) {
  const float peak = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - peak);
  const auto shift = static_cast<float>(peak + std::log(sum));
  std::vector<Candidate> all;
  all.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > -std::numeric_limits<float>::infinity())
      all.push_back({static_cast<int32_t>(i), logits[i] - shift});
  }
  return all;
}

// Keeps tokens above which less than p of the mass lies, and those as likely as the last of them.
// A heap hands out tokens by falling probability, so only the kept ones are sorted.
void keep_top_p(double p, std::vector<Candidate>& candidates) {
  const auto less = [](const Candidate& a, const Candidate& b) { return likelier(b, a); };
  std::make_heap(candidates.begin(), candidates.end(), less);
  auto end = candidates.end();
  double mass = 0;
  float last = 0;
  while (end != candidates.begin()) {
    const Candidate& top = candidates.front();
    if (mass >= p && top.logprob != last) break;
    last = top.logprob;
    mass += std::exp(static_cast<double>(last));
    std::pop_heap(candidates.begin(), end, less);
    --end;
  }
  candidates.erase(candidates.begin(), end);
}

int32_t draw(const std::vector<Candidate>& kept, double temperature, double u) {
  const double peak = kept.front().logprob;
  const auto weight = [&](const Candidate& c) {
    return std::exp((c.logprob - peak) / temperature);
  };
  double total = 0;
  for (const auto& c : kept) total += weight(c);
  double rest = u * total;
  for (const auto& c : kept) {
    rest -= weight(c);
    if (rest < 0) return c.id;
  }
  return kept.back().id;
}

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
  auto kept = log_probabilities(logits);
  const float peak = std::max_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
                       return a.logprob < b.logprob;
                     })->logprob;
  if (s.top_p > 0 && s.top_p < 1) keep_top_p(s.top_p, kept);
  if (s.min_p > 0) {
    const float floor = peak + static_cast<float>(std::log(s.min_p));
    std::erase_if(kept, [&](const Candidate& c) { return c.logprob < floor; });
  }
  if (s.top_k > 0 && static_cast<size_t>(s.top_k) < kept.size()) {
    std::nth_element(kept.begin(), kept.begin() + s.top_k, kept.end(), likelier);
    kept.resize(static_cast<size_t>(s.top_k));
  }
  std::sort(kept.begin(), kept.end(), likelier);
  return kept;
}

Sampler::Sampler(Sampling sampling, std::span<const int32_t> history)
    : sampling_(std::move(sampling)) {
  for (const int32_t id : history) ++counts_[id];
}

int32_t Sampler::sample(std::span<float> logits) {
  apply_penalties(sampling_, counts_, logits);
  require_usable(logits);
  int32_t id = 0;
  if (sampling_.temperature == 0) {
    id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  } else {
    const auto kept = kept_candidates(sampling_, logits);
    id = draw(kept, sampling_.temperature, uniform(sampling_.seed, position_));
  }
  ++position_;
  ++counts_[id];
  return id;
}

}  // namespace fovea::generate
