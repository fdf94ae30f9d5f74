// How long does picking a token take? Microseconds a token over a vocabulary of 151,936, for logits
// as language models have them (few likely tokens) and for flat ones (random weights). One JSON
// object a line, then a table; medians.
#include <array>
#include <cmath>
#include <vector>

#include "generate/sampler.h"
#include "report.h"
#include "stopwatch.h"

namespace {

using namespace fovea;
using generate::Sampling;

constexpr size_t kVocabulary = 151936;

// Close to normal, by adding twelve uniform numbers.
std::vector<float> normal_logits(double deviation) {
  std::vector<float> logits(kVocabulary);
  uint32_t state = 1;
  for (auto& logit : logits) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += (state = state * 1664525 + 1013904223) / 4294967296.0;
    logit = static_cast<float>(sum * deviation);
  }
  return logits;
}

// A few hundred tokens stand out, the first by several units.
std::vector<float> peaked_logits() {
  auto logits = normal_logits(2.5);
  for (size_t i = 0; i < 300; ++i) {
    logits[i * 503] = 18 - 2.2f * std::log(static_cast<float>(i + 1));
  }
  return logits;
}

Sampling sampling(double temperature, double top_p, int top_k, double min_p) {
  Sampling s;
  s.temperature = temperature;
  s.top_p = top_p;
  s.top_k = top_k;
  s.min_p = min_p;
  s.seed = 1;
  return s;
}

}  // namespace

int main() {
  struct Case {
    const char* name;
    Sampling sampling;
  };
  const std::array cases = {
      Case{"greedy", sampling(0, 1, 0, 0)},
      Case{"temperature 0.7, top-p 0.9", sampling(0.7, 0.9, 0, 0)},
      Case{"temperature 0.7, top-k 50", sampling(0.7, 1, 50, 0)},
      Case{"temperature 0.7, min-p 0.05", sampling(0.7, 1, 0, 0.05)},
      Case{"temperature 0.7", sampling(0.7, 1, 0, 0)},
  };
  bench::Report report;
  const auto measure = [&](const char* kind, const std::vector<float>& logits) {
    for (const auto& [name, s] : cases) {
      const std::vector<int32_t> history(1000, 7);
      generate::Sampler sampler(s, history);
      auto copy = logits;
      const double seconds = bench::median_seconds([&] { sampler.sample(copy); });
      report.add(fmt::format("{}, {} logits", name, kind), seconds * 1e6, "us");
    }
  };
  measure("peaked", peaked_logits());
  measure("flat", normal_logits(1));
  return 0;
}
