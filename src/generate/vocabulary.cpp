#include "generate/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#define FOVEA_INLINE [[gnu::always_inline]] inline

namespace fovea::generate {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kBlock = VocabularyPasses::kBlock;

using Floats [[gnu::vector_size(16)]] = float;
using Ints [[gnu::vector_size(16)]] = int;
constexpr size_t kFloats = sizeof(Floats) / sizeof(float);

FOVEA_INLINE float peak_body(std::span<const float> logits) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  constexpr size_t kChains = 4;  // that do not wait for one another
  const Floats largest = Floats{} + kLargest;
  Floats peaks[kChains];
  Ints usable[kChains];
  for (size_t c = 0; c < kChains; ++c) {
    peaks[c] = Floats{} - std::numeric_limits<float>::infinity();
    usable[c] = Ints{} - 1;
  }
  size_t i = 0;
  for (; i + kChains * kFloats <= logits.size(); i += kChains * kFloats) {
    for (size_t c = 0; c < kChains; ++c) {
      Floats values;
      std::memcpy(&values, logits.data() + i + c * kFloats, sizeof(values));
      peaks[c] = values > peaks[c] ? values : peaks[c];
      usable[c] &= values <= largest;
    }
  }
  float peak = peaks[0][0];
  bool good = true;
  for (size_t lane = 0; lane < kChains * kFloats; ++lane) {
    peak = std::max(peak, peaks[lane / kFloats][lane % kFloats]);
    good = good && usable[lane / kFloats][lane % kFloats];
  }
  for (; i < logits.size(); ++i) {
    peak = std::max(peak, logits[i]);
    good = good && logits[i] <= kLargest;
  }
  return good ? peak : std::numeric_limits<float>::quiet_NaN();
}

// The first block at or behind that of `begin` of which `fits` says yes for some value; its first
// value at or behind `begin`.
template <class Fits>
FOVEA_INLINE size_t find_fitting_block(std::span<const float> logits, size_t begin, Fits fits) {
  size_t at = begin / kBlock * kBlock;
  for (; at + kBlock <= logits.size(); at += kBlock) {
    int any = 0;
    for (size_t i = 0; i < kBlock; ++i) any |= fits(logits[at + i]) ? 1 : 0;
    if (any) return std::max(at, begin);
  }
  for (size_t i = at; i < logits.size(); ++i) {
    if (fits(logits[i])) return std::max(at, begin);
  }
  return logits.size();
}

FOVEA_INLINE size_t find_body(std::span<const float> logits, float value) {
  const size_t begin = find_fitting_block(logits, 0, [&](float logit) { return logit == value; });
  const auto rest = logits.subspan(begin);
  return begin + static_cast<size_t>(std::find(rest.begin(), rest.end(), value) - rest.begin());
}

FOVEA_INLINE size_t find_block_body(std::span<const float> logits, size_t begin, float shift,
                                    float floor) {
  return find_fitting_block(logits, begin, [&](float logit) { return logit - shift >= floor; });
}

// exp(x) = 2^n * exp(r), |r| <= ln(2) / 2, and the Taylor polynomial of r.
FOVEA_INLINE double exponential(double x) {
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the low bits
  constexpr double kLog2E = 0x1.71547652b82fep0;
  constexpr double kLn2High = 0x1.62e42fefa38p-1;  // times any n here it is exact
  constexpr double kLn2Low = 0x1.ef35793c7673p-45;
  x = x < -700 ? -700 : x;
  const double shifted = x * kLog2E + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  return p * std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);
}

FOVEA_INLINE void exponentials_body(std::span<double> x) {
  for (double& value : x) value = exponential(value);
}

FOVEA_INLINE double sum_of_exponentials_body(std::span<const float> logits, float peak) {
  double block[kBlock];
  double sums[kLanes] = {};
  size_t i = 0;
  for (; i + kBlock <= logits.size(); i += kBlock) {
    for (size_t k = 0; k < kBlock; ++k) {
      block[k] = exponential(static_cast<double>(logits[i + k]) - static_cast<double>(peak));
    }
    for (size_t k = 0; k < kBlock; ++k) sums[k % kLanes] += block[k];
  }
  double sum = 0;
  for (; i < logits.size(); ++i) {
    sum += exponential(static_cast<double>(logits[i]) - static_cast<double>(peak));
  }
  for (const double lane : sums) sum += lane;
  return sum;
}

// One set of passes; `target` is an attribute or nothing, which no parentheses may enclose.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define FOVEA_PASSES(name, target)                                                          \
  target float name##_peak(std::span<const float> logits) { return peak_body(logits); }     \
  target size_t name##_find(std::span<const float> logits, float value) {                   \
    return find_body(logits, value);                                                        \
  }                                                                                         \
  target size_t name##_find_block(std::span<const float> logits, size_t begin, float shift, \
                                  float floor) {                                            \
    return find_block_body(logits, begin, shift, floor);                                    \
  }                                                                                         \
  target void name##_exponentials(std::span<double> x) { exponentials_body(x); }            \
  target double name##_sum_of_exponentials(std::span<const float> logits, float peak) {     \
    return sum_of_exponentials_body(logits, peak);                                          \
  }                                                                                         \
  constexpr VocabularyPasses name##_passes = {#name,                                        \
                                              name##_peak,                                  \
                                              name##_find,                                  \
                                              name##_find_block,                            \
                                              name##_exponentials,                          \
                                              name##_sum_of_exponentials};

// NOLINTEND(bugprone-macro-parentheses)
FOVEA_PASSES(plain, )
#if defined(__x86_64__)
FOVEA_PASSES(avx2, [[gnu::target("avx2")]])
FOVEA_PASSES(avx512, [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]])
#endif
#undef FOVEA_PASSES

}  // namespace

std::vector<VocabularyPasses> vocabulary_variants() {
  std::vector<VocabularyPasses> variants = {plain_passes};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) variants.push_back(avx2_passes);
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    variants.push_back(avx512_passes);
  }
#endif
  return variants;
}

const VocabularyPasses& vocabulary_passes() {
  static const VocabularyPasses best = vocabulary_variants().back();
  return best;
}

}  // namespace fovea::generate
