// Passes over the logits of a whole vocabulary, in vectors. The results do not depend on the
// processor. Any thread may call.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace fovea::generate {

struct VocabularyPasses {
  std::string_view name;
  // The largest; NaN when any is NaN or infinity. -inf counts as a number. Needs one at least.
  float (*peak)(std::span<const float> logits);
  // The first of this value; the size when there is none.
  size_t (*find)(std::span<const float> logits, float value);
  // The first at or behind `begin` within whose block of kBlock (counted from 0) one of
  // `logits[i] - shift` is at least `floor`; the size when there is none.
  size_t (*find_block)(std::span<const float> logits, size_t begin, float shift, float floor);
  // x = exp(x), within 1e-14 of it; below -700 about 1e-304.
  void (*exponentials)(std::span<double> x);
  // The sum of exp(logit - peak) over all.
  double (*sum_of_exponentials)(std::span<const float> logits, float peak);

  static constexpr size_t kBlock = 64;
};

// The fastest that this processor runs.
const VocabularyPasses& vocabulary_passes();

// All that it runs, for tests.
std::vector<VocabularyPasses> vocabulary_variants();

}  // namespace fovea::generate
