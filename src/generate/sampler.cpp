#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"

namespace fovea::generate {
namespace {

constexpr double kTemperatureMin = 0.01;

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  fail(ErrorKind::kInvalidArgument, "[sampling] expected {} from {} to {} but got {}", name, low,
       high, value);
}

template <class T>
T chosen(const std::optional<T>& asked, const Json& config, const char* key, T fallback) {
  if (asked) return *asked;
  if (config[key].is_null()) return fallback;
  return static_cast<T>(config[key].as_double());
}

void check(const Sampling& s) {
  check_range("temperature", s.temperature, 0, 100);
  check_range("top_p", s.top_p, 0, 1);
  check_range("top_k", s.top_k, 0, 1 << 30);
  check_range("min_p", s.min_p, 0, 1);
  check_range("repetition_penalty", s.repetition_penalty, 1e-3, 1e3);
  check_range("presence_penalty", s.presence_penalty, -2, 2);
  check_range("frequency_penalty", s.frequency_penalty, -2, 2);
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
    if (!std::isinf(logits[i])) all.push_back({static_cast<int32_t>(i), logits[i] - shift});
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
  s.temperature = greedy ? 0 : chosen(params.temperature, config, "temperature", 0.0);
  s.top_p = chosen(params.top_p, config, "top_p", 1.0);
  s.top_k = chosen(params.top_k, config, "top_k", 0);
  s.min_p = chosen(params.min_p, config, "min_p", 0.0);
  s.repetition_penalty = chosen(params.repetition_penalty, config, "repetition_penalty", 1.0);
  s.presence_penalty = params.presence_penalty.value_or(0);
  s.frequency_penalty = params.frequency_penalty.value_or(0);
  s.logit_bias = params.logit_bias;
  check(s);
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
