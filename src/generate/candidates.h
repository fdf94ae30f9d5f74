// Which tokens a sampler's filters leave, without sorting the vocabulary: only those above a
// threshold are looked at, and it sinks until some filter is met. Keeps its memory from token to
// token. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea::generate {

struct Candidate {
  int32_t id;
  float logprob;
};

struct Filters {
  double top_p = 1;  // off at 0 and 1
  double min_p = 0;  // off at 0
  int top_k = 0;     // off at 0
};

class Candidates {
 public:
  // By falling probability, equal ones by rising id; never empty, valid until the next call. top_p
  // keeps tokens above which less than its mass lies, and those as likely as the last of them;
  // min_p those that are at least this share of the likeliest; top_k this many. REQUIRES: `peak` is
  // the largest logit and finite, none is NaN.
  std::span<const Candidate> keep(const Filters& filters, std::span<const float> logits,
                                  float peak);

 private:
  void collect(std::span<const float> logits, float shift, float floor);
  void sort(bool ids_rise);
  size_t count_by_mass(double top_p) const;
  double exponentials_of_found();

  std::vector<Candidate> found_;
  std::vector<Candidate> spare_;  // for sorting
  std::vector<double> masses_;    // of found_, in its order
  size_t count_ = 0;              // of found_ that count
};

}  // namespace fovea::generate
