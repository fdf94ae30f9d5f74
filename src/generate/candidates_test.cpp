#include "generate/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace fovea::generate {

static bool operator==(const Candidate& a, const Candidate& b) {
  return a.id == b.id && a.logprob == b.logprob;
}

namespace {

// What Filters promise, word by word: the whole vocabulary sorted, then one filter after another.
std::vector<Candidate> sorted_and_filtered(const Filters& filters,
                                           const std::vector<float>& logits) {
  const float peak = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - peak);
  const auto shift = static_cast<float>(peak + std::log(sum));
  std::vector<Candidate> all;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) all.push_back({static_cast<int32_t>(i), logits[i] - shift});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Candidate& a, const Candidate& b) { return a.logprob > b.logprob; });
  size_t kept = all.size();
  if (filters.top_p > 0 && filters.top_p < 1) {
    double mass = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      if (mass >= filters.top_p && all[i].logprob != all[i - 1].logprob) {
        kept = i;
        break;
      }
      mass += std::exp(double{all[i].logprob});
    }
  }
  if (filters.min_p > 0) {
    const float floor = all[0].logprob + static_cast<float>(std::log(filters.min_p));
    while (all[kept - 1].logprob < floor) --kept;
  }
  if (filters.top_k > 0) kept = std::min(kept, static_cast<size_t>(filters.top_k));
  all.resize(kept);
  return all;
}

std::vector<Filters> many_filters() {
  std::vector<Filters> all;
  for (const double top_p : {0.0, 0.1, 0.9, 0.999999, 1.0}) {
    for (const double min_p : {0.0, 0.001, 0.5, 1.0}) {
      for (const int top_k : {0, 1, 50, 700, 1 << 30}) all.push_back({top_p, min_p, top_k});
    }
  }
  return all;
}

void expect_same(const std::vector<float>& logits, const char* kind) {
  const float peak = *std::max_element(logits.begin(), logits.end());
  Candidates candidates;  // one for all, as a sampler has
  for (const auto& filters : many_filters()) {
    const auto kept = candidates.keep(filters, logits, peak);
    const auto expected = sorted_and_filtered(filters, logits);
    ASSERT_TRUE(std::equal(kept.begin(), kept.end(), expected.begin(), expected.end()))
        << kind << ", top_p " << filters.top_p << ", min_p " << filters.min_p << ", top_k "
        << filters.top_k << ": " << kept.size() << " of " << expected.size();
  }
}

TEST(Candidates, AreThoseOfTheSortedVocabulary) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const size_t size : {1u, 63u, 64u, 65u, 1000u, 20011u}) {
    for (const float deviation : {0.1f, 1.0f, 4.0f, 30.0f}) {
      std::vector<float> logits(size);
      for (float& logit : logits) logit = deviation * normal(random);
      expect_same(logits, "normal");
    }
  }
}

TEST(Candidates, ThatAreAlikeComeByRisingId) {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7 % 3);
  expect_same(logits, "ties");
  expect_same(std::vector<float>(3000, -0.0f), "all alike");
}

TEST(Candidates, AreNeverRuledOut) {
  std::vector<float> logits(4000, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < logits.size(); i += 97) logits[i] = -static_cast<float>(i) / 50;
  expect_same(logits, "masked");
  logits.assign(200, -std::numeric_limits<float>::infinity());
  logits[150] = -0.0f;
  expect_same(logits, "one");
}

}  // namespace
}  // namespace fovea::generate
