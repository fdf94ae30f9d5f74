#include "generate/vocabulary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fovea::generate {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> some_logits(size_t size) {
  std::vector<float> logits(size);
  uint32_t state = 3;
  for (float& logit : logits) {
    logit = static_cast<float>((state = state * 1664525 + 1013904223) >> 8) / 1e6f - 8;
  }
  return logits;
}

TEST(Vocabulary, FindsThePeakWhereverItStands) {
  for (const auto& passes : vocabulary_variants()) {
    for (const size_t size : {1u, 5u, 16u, 64u, 200u}) {
      for (size_t at = 0; at < size; ++at) {
        auto logits = some_logits(size);
        logits[at] = 99;
        EXPECT_EQ(passes.peak(logits), 99) << passes.name;
        EXPECT_EQ(passes.find(logits, 99), at) << passes.name;
        EXPECT_EQ(passes.find_block(logits, 0, 1, 98), at / 64 * 64) << passes.name;
        EXPECT_EQ(passes.find_block(logits, at, 1, 98), at) << passes.name;
        EXPECT_EQ(passes.find_block(logits, 0, 1, 98.5f), size) << passes.name;
        logits[at] = -kInf;
        EXPECT_EQ(std::isinf(passes.peak(logits)), size == 1) << passes.name;
        for (const float bad : {kInf, std::nanf(""), -std::nanf("")}) {
          logits[at] = bad;
          EXPECT_TRUE(std::isnan(passes.peak(logits))) << passes.name << " at " << at;
        }
      }
    }
  }
}

TEST(Vocabulary, FindsTheFirstOfEqualOnes) {
  std::vector<float> logits(300, 1);
  for (const size_t at : {130u, 131u, 250u}) logits[at] = 2;
  for (const auto& passes : vocabulary_variants()) {
    EXPECT_EQ(passes.find(logits, 2), 130u) << passes.name;
    EXPECT_EQ(passes.find(logits, 3), 300u) << passes.name;
  }
}

TEST(Vocabulary, ExponentialsAreWithinTheirBound) {
  for (const auto& passes : vocabulary_variants()) {
    std::vector<double> x;
    for (double value = -699; value < 80; value += 0.0173) x.push_back(value);
    const auto before = x;
    passes.exponentials(x);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(x[i] / std::exp(before[i]), 1, 1e-14) << passes.name << " of " << before[i];
    }
    std::vector<double> ends = {0, -750, -std::numeric_limits<double>::infinity()};
    passes.exponentials(ends);
    EXPECT_EQ(ends[0], 1);
    EXPECT_LT(ends[1], 1e-300);
    EXPECT_LT(ends[2], 1e-300);
  }
}

TEST(Vocabulary, EveryVariantSumsAlike) {
  for (const size_t size : {1u, 17u, 64u, 1000u}) {
    auto logits = some_logits(size);
    logits.back() = -kInf;
    double exact = 0;
    for (const float logit : logits) exact += std::exp(double{logit} - 9);
    const double first = vocabulary_variants().front().sum_of_exponentials(logits, 9);
    EXPECT_NEAR(first, exact, exact * 1e-13 + 1e-300);
    for (const auto& passes : vocabulary_variants()) {
      EXPECT_EQ(passes.sum_of_exponentials(logits, 9), first) << passes.name << ", " << size;
    }
  }
}

}  // namespace
}  // namespace fovea::generate
