// Activation-aware scales: channels whose inputs are large get finer steps, by scaling their
// columns up before the weights are rounded and what makes the inputs down. Source: AWQ, Lin et
// al., arXiv:2306.00978. One thread; MLX's own threads do the work.
//
// Legend: R channels of what makes an input, K inputs of a weight (R times the group's repeats).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "convert/activations.h"
#include "convert/plan.h"
#include "models/input_groups.h"

namespace fovea::convert {

// Plans `scale_R` (float32, above 0): products' columns are multiplied by it, the source's channels
// divided. A norm's weights are rounded to their type first and the columns follow what is left, so
// that the model before quantising is the same but for the rounding of linear layers.
void apply_scale(Plan& plan, const models::InputGroup& group, const mx::array& scale_R);

enum class Clips {
  kNone,
  // Afterwards the range of each group of a weight may be cut, by up to kClipSteps steps
  // (weight_stream.h), where its outputs come nearer.
  kSearched,
};

// What the search found.
struct ScaleReport {
  int groups = 0;          // that were searched
  int scaled = 0;          // of them, those where plain rounding was not the best
  double plain_error = 0;  // of outputs, in squares relative to theirs: the mean over groups
  double error = 0;        // the same with the scales
};

// For each group with weights that will be quantised: tries mean|x|^alpha, normalised, for alpha 0
// (no scale) to 1, and plans the one whose rounded weights give outputs nearest to the plain ones
// on the kept rows. `step` is called after each group with how many were done and how many there
// are, and may throw to stop. Memory: some rows of one weight, whatever its size.
ScaleReport plan_scales(Plan& plan, const std::vector<models::InputGroup>& groups,
                        const std::map<std::string, Activations>& activations, Clips clips,
                        const std::function<void(int64_t, int64_t)>& step);

}  // namespace fovea::convert
