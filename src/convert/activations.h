// What a model multiplies its weights with, gathered while it reads prompts. Engine thread only.
//
// Legend: N kept rows, K inputs of a weight.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/prompt.h"
#include "models/model.h"

namespace fovea::convert {

namespace mx = mlx::core;

// Rows [N, K] of one input in bfloat16, evenly from all prompts.
using Activations = mx::array;

// Rows that are kept of each input, and how many of them stand for media where there are others: a
// picture has many tokens, but what is said depends more on each token of text. Source on the
// latter: MBQ, Li et al., arXiv:2412.19509.
inline constexpr int kKeptRows = 256;
inline constexpr int kKeptMediaRows = 64;
// Rows that are computed at once, unless a prompt is longer: many, since a pass reads all weights.
inline constexpr int kPassRows = 4096;

// By the path of the group's first product; a group whose weights the model does not read is not
// there. `step` is called after each of `inputs` that a pass comes to, with how many were done and
// how many there are, and may throw to stop. Memory: a layer's activations for kPassRows, and
// kKeptRows of every input.
std::map<std::string, Activations> gather_activations(
    models::Model& model, const std::vector<Prompt>& prompts,
    const std::vector<models::InputGroup>& groups,
    const std::function<void(int64_t, int64_t)>& step);

}  // namespace fovea::convert
