#include "generate/candidates.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "generate/vocabulary.h"

namespace fovea::generate {
namespace {

// How far below the likeliest token the first look goes, in units of log probability, and how much
// further each next one: a look costs less than tokens that are collected in vain.
constexpr float kFirstDepth = 2;
constexpr float kDeeper = 1.5f;
constexpr float kLastDepth = 64;  // beyond it, all are looked at

bool likelier(const Candidate& a, const Candidate& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
}

// Larger numbers get smaller keys. No logprob is -0.
uint32_t sort_key(float logprob) {
  const auto bits = std::bit_cast<uint32_t>(logprob);
  return bits >> 31 ? bits : bits ^ 0x7FFFFFFF;
}

constexpr unsigned kDigitBits = 11;
constexpr unsigned kDigits = 3;  // of a key
constexpr size_t kDigitValues = size_t{1} << kDigitBits;

size_t digit(float logprob, unsigned number) {
  return sort_key(logprob) >> (number * kDigitBits) & (kDigitValues - 1);
}

// Radix sort, which keeps the order of equal ones; `from` and `to` have the same size. The result
// is in `to`.
void sort_by_digits(std::span<Candidate> from, std::span<Candidate> to) {
  std::array<std::array<uint32_t, kDigitValues>, kDigits> starts{};
  for (const auto& c : from) {
    for (unsigned d = 0; d < kDigits; ++d) ++starts[d][digit(c.logprob, d)];
  }
  for (auto& counts : starts) {
    uint32_t next = 0;
    for (uint32_t& count : counts) next += std::exchange(count, next);
  }
  for (unsigned d = 0; d < kDigits; ++d) {
    for (const auto& c : from) to[starts[d][digit(c.logprob, d)]++] = c;
    std::swap(from, to);
  }
}

}  // namespace

// Those whose log probability is at least `floor`, by rising id.
void Candidates::collect(std::span<const float> logits, float shift, float floor) {
  constexpr size_t kBlock = VocabularyPasses::kBlock;
  const auto& passes = vocabulary_passes();
  count_ = 0;
  size_t i = passes.find_block(logits, 0, shift, floor);
  while (i < logits.size()) {
    const size_t end = std::min(logits.size(), i + kBlock);
    if (found_.size() < count_ + kBlock) found_.resize(2 * found_.size() + kBlock);
    for (; i < end; ++i) {
      // Adding zero makes a 0 of -0.
      found_[count_] = {static_cast<int32_t>(i), logits[i] - shift + 0.0f};
      count_ += found_[count_].logprob >= floor ? 1 : 0;
    }
    i = passes.find_block(logits, i, shift, floor);
  }
}

void Candidates::sort(bool ids_rise) {
  constexpr size_t kFew = 512;  // that are sorted faster by comparing
  if (count_ < kFew || !ids_rise) {
    std::sort(found_.begin(), found_.begin() + static_cast<int64_t>(count_), likelier);
    return;
  }
  spare_.resize(found_.size());
  sort_by_digits(std::span(found_).first(count_), std::span(spare_).first(count_));
  std::swap(found_, spare_);
}

// masses_ of found_, and their sum.
double Candidates::exponentials_of_found() {
  if (masses_.size() < count_) masses_.resize(found_.size());
  for (size_t i = 0; i < count_; ++i) masses_[i] = found_[i].logprob;
  const auto masses = std::span(masses_).first(count_);
  vocabulary_passes().exponentials(masses);
  double sum = 0;
  for (const double mass : masses) sum += mass;
  return sum;
}

// Of sorted candidates with their masses.
size_t Candidates::count_by_mass(double top_p) const {
  double mass = 0;
  size_t n = 0;
  for (; n < count_; ++n) {
    if (mass >= top_p && found_[n].logprob != found_[n - 1].logprob) break;
    mass += masses_[n];
  }
  return n;
}

std::span<const Candidate> Candidates::keep(const Filters& filters, std::span<const float> logits,
                                            float peak) {
  constexpr double kMassSlack = 1e-9;  // above what sums in different orders differ by
  const double sum = vocabulary_passes().sum_of_exponentials(logits, peak);
  const auto shift = static_cast<float>(peak + std::log(sum));
  const float likeliest = peak - shift;
  const bool by_mass = filters.top_p > 0 && filters.top_p < 1;
  const size_t most =
      filters.top_k > 0 ? static_cast<size_t>(filters.top_k) : std::numeric_limits<size_t>::max();
  // -inf is no candidate.
  float floor = -std::numeric_limits<float>::max();
  if (filters.min_p > 0) floor = likeliest + static_cast<float>(std::log(filters.min_p));
  // With no other filter than min_p, all above its floor are wanted at once.
  float depth = by_mass || filters.top_k > 0 ? kFirstDepth : std::numeric_limits<float>::infinity();
  while (true) {
    const bool last = depth > kLastDepth || likeliest - depth <= floor;
    collect(logits, shift, last ? floor : likeliest - depth);
    if (last || count_ >= most) break;
    if (by_mass && exponentials_of_found() > filters.top_p + kMassSlack) break;
    depth *= kDeeper;
  }
  const bool rearranged = count_ > most;
  if (rearranged) {
    const auto begin = found_.begin();
    std::nth_element(begin, begin + filters.top_k, begin + static_cast<int64_t>(count_), likelier);
    count_ = most;
  }
  sort(!rearranged);
  if (!by_mass) return std::span(found_).first(count_);
  exponentials_of_found();
  return std::span(found_).first(count_by_mass(filters.top_p));
}

}  // namespace fovea::generate
