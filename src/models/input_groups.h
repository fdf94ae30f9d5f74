// Which of a model's weights share an input, and what that input can be scaled by: for
// converters. Values.
#pragma once

#include <string>
#include <vector>

namespace fovea::models {

// Weights that are multiplied with one input x. Dividing channels of `source`, which makes x, and
// multiplying the same columns of every product leaves the model as it is.
struct InputGroup {
  enum class Source {
    kNorm,    // an RMS norm's weights are x's channels
    kLinear,  // rows of a linear layer, and its bias, are
  };
  std::vector<std::string> products;  // module paths; the first is what nn::InputTap is shown
  Source source = Source::kNorm;
  std::string source_path;
  float norm_offset = 0;  // kNorm: see nn::RmsNorm
  // kLinear: of the rows that make x the first, and how many there are. x may repeat them in runs
  // of `run`, `repeats` times each: value heads that several queries share.
  int first_row = 0;
  int rows = 0;
  int run = 0;
  int repeats = 1;
};

}  // namespace fovea::models
